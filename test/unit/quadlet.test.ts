import { describe, expect, it } from 'vitest'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { quadletFile, type QuadletContainer } from '../../src/engine/units/quadlet.ts'

const PLAIN: QuadletContainer = {
  name: 'web',
  image: 'docker.io/library/alpine:3',
  flags: [],
  words: [],
  directory: '/srv',
  ownUser: true,
  network: 'bridge',
  restart: 'no',
  requires: [],
}

/** Lines of [Container] for some flags, without those that every container has. */
function linesFor(...flags: readonly (readonly [string, string])[]): string[] {
  const text = quadletFile({ ...PLAIN, flags: flags.map(([name, value]) => ({ name, value })) })
  const own = ['ContainerName=', 'Image=', 'UserNS=auto', 'Network=bridge']
  const section = text.split('[Container]\n')[1]?.split('\n\n')[0]?.split('\n') ?? []
  return section.filter((line) => !own.some((begin) => line.startsWith(begin)))
}

describe('a file for quadlet', () => {
  it('is a whole service with what the container has without being asked for', () => {
    expect(quadletFile({ ...PLAIN, words: ['sh', '-c', 'echo "$A" 5%'], restart: 'always', requires: ['db'] })).toBe(
      `[Unit]
Description=Container web
Requires=db.service
After=db.service

[Container]
ContainerName=web
Image=docker.io/library/alpine:3
UserNS=auto
Network=bridge
Exec=sh -c "echo \\"$$A\\" 5%%"

[Service]
Restart=always
TimeoutStartSec=900

[Install]
WantedBy=multi-user.target default.target
`,
    )
  })

  it.each([
    [['cap-add', 'net_admin'], 'AddCapability=net_admin'],
    [['env', 'A=x y\nz'], 'Environment="A=x y\\nz"'],
    [['label', 'a=b'], 'Label=a=b'],
    [['init', 'true'], 'RunInit=true'],
    [['health-cmd', 'curl "a b" || exit $X'], 'HealthCmd=curl "a b" || exit $$X'],
    [['health-cmd', 'a\nb'], 'PodmanArgs="--health-cmd=a\\nb"'],
    [['volume', './data:/d:ro'], 'Volume=/srv/data:/d:ro'],
    [['volume', 'named:/d'], 'Volume=named:/d'],
    [['mount', 'type=bind,source=./a,target=/a'], 'Mount=type=bind,source=/srv/a,target=/a'],
    [['mount', 'type=bind,source=/a b,target=/a'], 'PodmanArgs="--mount=type=bind,source=/a b,target=/a"'],
    [['env-file', 'vars'], 'EnvironmentFile=/srv/vars'],
    [['rootfs', 'root:O'], 'Rootfs=/srv/root:O'],
    [['security-opt', 'no-new-privileges'], 'NoNewPrivileges=true'],
    [['security-opt', 'seccomp=filter.json'], 'SeccompProfile=/srv/filter.json'],
    [['security-opt', 'unmask=/proc/a'], 'Unmask=/proc/a'],
    [['security-opt', 'unmask=/proc/a b'], 'PodmanArgs="--security-opt=unmask=/proc/a b"'],
    [['security-opt', 'apparmor=unconfined'], 'PodmanArgs=--security-opt=apparmor=unconfined'],
    [['memory', '100m'], 'PodmanArgs=--memory=100m'],
    [['privileged', 'true'], 'PodmanArgs=--privileged=true'],
  ] as const)('has %j as %s', (flag, line) => {
    expect(linesFor(flag)).toEqual([line])
  })

  it('says a user and a group apart, and leaves out what the unit itself does', () => {
    expect(linesFor(['user', '5:6'], ['detach', 'true'], ['rm', 'true'], ['restart', 'always'])).toEqual([
      'User=5',
      'Group=6',
    ])
  })

  it('takes what a flag says before what the container has', () => {
    const text = quadletFile({ ...PLAIN, flags: [flag('userns', 'host'), flag('network', 'container:db')] })
    expect(text.match(/^(UserNS|Network)=.*$/gm)).toEqual(['UserNS=host', 'Network=container:db'])
  })

  it('refuses by name what podman has nothing like, and a word that quadlet would lose', () => {
    expect(() => linesFor(['timens', 'private'])).toThrow('generate quadlet web: podman has nothing like --timens')
    expect(() => quadletFile({ ...PLAIN, words: ['sh', ''] })).toThrow('its command has an empty word')
  })

  it('knows of every flag of run what becomes of it', () => {
    const refused = RUN_FLAGS.map(({ name }) => name).filter((name) => {
      try {
        linesFor([name, 'x'])
        return false
      } catch (error) {
        expect((error as Error).message).toContain(`podman has nothing like --${name}`)
        return true
      }
    })
    expect(refused.toSorted()).toEqual(['health-start-interval', 'help', 'max-unpack-size', 'network-rate', 'timens'])
  })
})

function flag(name: string, value: string): { readonly name: string; readonly value: string } {
  return { name, value }
}
