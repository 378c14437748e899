import { isIP } from 'node:net'
import { constants } from 'node:os'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { flagValues } from '../../src/cli/command.ts'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { madeBy } from '../../src/cli/made-by.ts'
import type { Caller } from '../../src/cli/parse/environment.ts'
import { parseRun, type RunRequest } from '../../src/cli/parse/run.ts'
import { isAddress, parseSignal } from '../../src/cli/parse/words.ts'
import { normaliseArgv } from '../../src/cli/pflag.ts'
import { TscrunError } from '../../src/model/errors.ts'

const files: Record<string, string | Uint8Array> = {
  vars: '# comment\n\n  A=1\nB\nMISSING\n C = no\n',
  good: '\ufeffA=1\r\nQUOTED="x y"\n   # indented comment\nHOME\nMISSING\nEMPTY=\n\tLAST=a=b',
  binary: new Uint8Array([0x41, 0x3d, 0xff, 0xfe]),
  labels: 'one=1\ntwo\n',
}

const caller: Caller = {
  env: { HOME: '/home/me', LC_ALL: 'C', LC_TIME: 'de', LANG: 'en' },
  cwd: '/home/me',
  readFile: (path) => Buffer.from(Object.hasOwn(files, path) ? (files[path] ?? '') : ''),
}

/** What a `run` line comes to; words are separated by blanks, `~` stands for a blank inside a word. */
function request(line: string): RunRequest {
  return requestOf(line.split(' ').map((word) => word.replaceAll('~', ' ')))
}

function requestOf(argv: readonly string[]): RunRequest {
  const normalised = normaliseArgv(argv, RUN_FLAGS, { interspersed: false })
  if (!normalised.ok) throw new Error(normalised.problem.kind)
  const values = new Map<string, string[]>()
  for (const { flag, value } of normalised.occurrences) {
    const list = values.get(flag.name) ?? []
    values.set(flag.name, [...list, ...(flag.split ? value.split(',') : [value])])
  }
  return parseRun(flagValues(values), normalised.operands, caller)
}

const options = (line: string) => request(`${line} img`).options

describe('values of run that are good', () => {
  it.each<[string, object]>([
    ['--rm -it', { remove: true, interactive: true, tty: true }],
    [
      '-m 64m --memory-swap 128m --memory-reservation 32m',
      { memory: 2 ** 26, memorySwap: 2 ** 27, memoryReservation: 2 ** 25 },
    ],
    ['-m 64m --memory-swap -1', { memory: 2 ** 26, memorySwap: -1 }],
    ['-m 0', {}],
    ['--cpus .5 -c 512', { cpus: 0.5, cpuShares: 512 }],
    ['--cpu-quota 5000 --cpu-period 10000', { cpuQuota: 5000, cpuPeriod: 10_000 }],
    ['--cpuset-cpus 0-3,7 --cpuset-mems 0', { cpusetCpus: '0-3,7', cpusetMems: '0' }],
    ['--pids-limit 0', { pidsLimit: -1 }],
    ['--blkio-weight 10', { blkioWeight: 10 }],
    ['--device-read-bps /dev/vda:1mb', { deviceReadBps: [{ path: '/dev/vda', rate: 2 ** 20 }] }],
    [
      '--device-write-iops /dev/vda:10,/dev/vdb:20',
      {
        deviceWriteIops: [
          { path: '/dev/vda', rate: 10 },
          { path: '/dev/vdb', rate: 20 },
        ],
      },
    ],
    ['--cgroup-conf memory.high=64M', { cgroupConf: { 'memory.high': '64M' } }],
    [
      '--ulimit nofile=1024:2048 --ulimit core=-1',
      {
        ulimits: [
          { name: 'nofile', soft: 1024, hard: 2048 },
          { name: 'core', soft: -1, hard: -1 },
        ],
      },
    ],
    ['-v /a:/b', { volumes: [{ source: '/a', target: '/b', createSource: true }] }],
    [
      '-v ./a/../c:/b/:ro,noexec,rslave',
      {
        volumes: [
          {
            source: '/home/me/c',
            target: '/b',
            createSource: true,
            readonly: true,
            flags: ['noexec'],
            propagation: 'rslave',
          },
        ],
      },
    ],
    ['-v .:/b:bind', { volumes: [{ source: '/home/me', target: '/b', createSource: true, recursive: false }] }],
    ['--mount type=bind,src=/a,dst=/b,ro', { volumes: [{ source: '/a', target: '/b', readonly: true }] }],
    [
      '--mount type=bind,source=a,target=/b,readonly=false,bind-propagation=shared',
      { volumes: [{ source: '/home/me/a', target: '/b', readonly: false, propagation: 'shared' }] },
    ],
    [
      '--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777',
      { tmpfs: [{ target: '/t', options: ['size=1m', 'mode=1777'] }] },
    ],
    [
      '--tmpfs /t:size=64m,mode=1777 --tmpfs /u',
      { tmpfs: [{ target: '/t', options: ['size=64m', 'mode=1777'] }, { target: '/u' }] },
    ],
    ['--device /dev/fuse', { devices: [{ hostPath: '/dev/fuse', containerPath: '/dev/fuse', access: 'rwm' }] }],
    ['--device /dev/a:r', { devices: [{ hostPath: '/dev/a', containerPath: '/dev/a', access: 'r' }] }],
    ['--device /dev/a:/dev/b:rw', { devices: [{ hostPath: '/dev/a', containerPath: '/dev/b', access: 'rw' }] }],
    ['--device-cgroup-rule c~189:*~rwm', { deviceCgroupRules: ['c 189:* rwm'] }],
    [
      '--cap-add net_admin,CAP_SYS_TIME --cap-drop all',
      { capAdd: ['CAP_NET_ADMIN', 'CAP_SYS_TIME'], capDrop: ['ALL'] },
    ],
    ['--security-opt no-new-privileges', { security: { noNewPrivileges: true } }],
    ['--security-opt no-new-privileges:false', { security: { noNewPrivileges: false } }],
    [
      '--security-opt no-new-privileges=true --security-opt seccomp=p.json',
      { security: { noNewPrivileges: true, seccomp: '/home/me/p.json' } },
    ],
    ['--security-opt seccomp:unconfined', { security: { seccomp: 'unconfined' } }],
    [
      '--security-opt label=type:x --security-opt mask=/a:/b --security-opt unmask=all',
      { security: { label: ['type:x'], mask: ['/a', '/b'], unmask: ['ALL'] } },
    ],
    ['--security-opt systempaths=unconfined', { security: { unmask: ['ALL'] } }],
    [
      '--pid host --ipc shareable --uts private --cgroupns ns:/proc/1/ns/cgroup',
      { namespaces: { pid: 'host', ipc: 'new', uts: 'new', cgroup: { path: '/proc/1/ns/cgroup' } } },
    ],
    ['--userns auto', { namespaces: { user: 'auto' } }],
    ['--timens private', { namespaces: { time: {} } }],
    ['--timens boottime=3600,monotonic=-5', { namespaces: { time: { boottime: 3600, monotonic: -5 } } }],
    ['--network none', { network: 'none' }],
    ['--net ns:/run/netns/x', { network: { path: '/run/netns/x' } }],
    [
      '-h web --add-host db:10.0.0.5 --add-host a;b=[::1] --add-host h:host-gateway',
      { hostname: 'web', addHost: ['db:10.0.0.5', 'a:::1', 'b:::1', 'h:host-gateway'] },
    ],
    [
      '--dns 1.1.1.1,2606::1 --dns-opt ndots:2 --dns-search example.org',
      { dns: ['1.1.1.1', '2606::1'], dnsOption: ['ndots:2'], dnsSearch: ['example.org'] },
    ],
    ['--entrypoint sh', { entrypoint: ['sh'] }],
    ['--entrypoint ["sh","-c"]', { entrypoint: ['sh', '-c'] }],
    ['--entrypoint=', { entrypoint: [] }],
    ['-u 1000:users -w /srv', { user: '1000:users', workdir: '/srv' }],
    ['--stop-signal 15', { stopSignal: 'SIGTERM' }],
    ['--stop-signal RTMIN+3', { stopSignal: 'SIGRTMIN+3' }],
    ['--max-unpack-size 20g', { maxUnpackSize: 20 * 2 ** 30 }],
    ['--max-unpack-size 0', { maxUnpackSize: 0 }],
    ['--pull ifnewer --platform aarch64', { pull: 'newer', platform: 'linux/arm64' }],
    ['--umask 027 --oom-score-adj -500 --timeout 3', { umask: 0o27, oomScoreAdj: -500, timeoutMs: 3000 }],
    [
      '--sysctl net.core.somaxconn=1024 --sysctl net/ipv4/conf/eth0.1/x=1',
      { sysctls: { 'net.core.somaxconn': '1024', 'net/ipv4/conf/eth0.1/x': '1' } },
    ],
    [
      '-l a=1 -l b --label-file labels --annotation k=v',
      { labels: { one: '1', two: '', a: '1', b: '' }, annotations: { k: 'v' } },
    ],
    [
      '--shm-size 1g --read-only --privileged --init',
      { shmSize: 2 ** 30, readOnly: true, privileged: true, init: true },
    ],
    ['--tls-verify=false', { tlsVerify: false }],
    ['--group-add 5,video', { groupAdd: ['5', 'video'] }],
  ])('%s', (line, expected) => {
    expect(options(line)).toEqual(expected)
  })

  it('takes variables of the caller by name and by beginning, in the order typed, files first', () => {
    expect(options('-e A=2 -e HOME -e NOSUCH -e LC_* --env-file good').env).toEqual([
      'A=1',
      'QUOTED="x y"',
      'HOME=/home/me',
      'EMPTY=',
      'LAST=a=b',
      'A=2',
      'HOME=/home/me',
      'LC_ALL=C',
      'LC_TIME=de',
    ])
  })

  it('keeps a label called __proto__ a label', () => {
    expect(Object.entries(options('-l __proto__=x -l a=1').labels ?? {})).toEqual([
      ['__proto__', 'x'],
      ['a', '1'],
    ])
  })

  it('takes the image or the root directory, and leaves the rest to the container', () => {
    expect(request('alpine sh -c --rm')).toMatchObject({ image: 'alpine', args: ['sh', '-c', '--rm'], options: {} })
    expect(request('--rootfs /:O sh -c id')).toMatchObject({
      image: undefined,
      args: ['sh', '-c', 'id'],
      options: { rootfs: { path: '/', overlay: true } },
    })
    expect(request('--rootfs --rm /:O sh')).toMatchObject({
      args: ['sh'],
      options: { rootfs: { path: '/', overlay: true }, remove: true },
    })
    expect(request('--rootfs=srv/x sh')).toMatchObject({
      args: ['sh'],
      options: { rootfs: { path: '/home/me/srv/x', overlay: false } },
    })
  })

  it('tells about options without effect', () => {
    expect(request('-v /a:/b:z img').notes).toEqual([expect.stringContaining('option z has no effect')])
  })
})

describe('values of run that are bad', () => {
  it.each([
    ['--memory 1', '--memory 1: too little for a process to start', 'did you mean 1m?'],
    ['--memory abc', '--memory abc: not a size'],
    ['-m -5', '--memory -5: not a size'],
    ['--memory-swap 64m', '--memory-swap 64m: needs --memory too'],
    ['-m 64m --memory-swap 32m', '--memory-swap 32m: less than --memory 64m'],
    ['-m 64m --memory-reservation 65m', '--memory-reservation 65m: more than --memory 64m'],
    ['--cpus x', '--cpus x: not a number'],
    ['--cpus 1e3', '--cpus 1e3: not a number'],
    ['--cpus 1 --cpu-quota 5000', '--cpus 1: does not go together with --cpu-quota'],
    ['--cpu-period 5', '--cpu-period 5: out of range, must be 1000 to 1000000'],
    ['--cpu-quota 5', '--cpu-quota 5: out of range, must be at least 1000'],
    ['--cpu-shares 1', '--cpu-shares 1: out of range'],
    ['--cpuset-cpus 3-1', '--cpuset-cpus 3-1: 3-1 runs backwards'],
    ['--cpuset-cpus 0-99999999999', '--cpuset-cpus 0-99999999999: not a list of numbers'],
    ['--cpuset-cpus 0-65000', '--cpuset-cpus 0-65000: 65000 is more than'],
    ['--pids-limit -2', '--pids-limit -2: out of range'],
    ['--blkio-weight 5', '--blkio-weight 5: out of range'],
    ['--device-read-bps vda:1m', '--device-read-bps vda:1m: not a device under /dev'],
    ['--device-read-bps /dev/vda:x', '--device-read-bps /dev/vda:x: "x" is not a size'],
    ['--device-read-iops /dev/vda:0', '--device-read-iops /dev/vda:0: "0" is out of range, must be at least 1'],
    ['--tmpfs /t:size=x', '--tmpfs /t:size=x: "x" is not a size'],
    ['--timens=boottime=x', '--timens boottime=x: "x" is not a whole number'],
    ['--cgroup-conf ../x=1', '--cgroup-conf ../x=1: not FILE=VALUE'],
    ['--cgroup-conf memory.max/../x=1', '--cgroup-conf memory.max/../x=1: not FILE=VALUE'],
    ['--ulimit nofiles=1', '--ulimit nofiles=1: no limit has the name "nofiles"'],
    ['--ulimit nofile=5:1', '--ulimit nofile=5:1: the soft limit is above the hard one'],
    ['--ulimit nofile=-1:5', '--ulimit nofile=-1:5: the soft limit is above the hard one'],
    ['--ulimit nofile', '--ulimit nofile: not NAME=SOFT[:HARD]'],
    ['-v /a:b', '--volume /a:b: the path in the container must begin with /'],
    ['-v /a:/', '--volume /a:/: the path in the container cannot be /'],
    ['-v /a:/b/..', '--volume /a:/b/..: the path in the container cannot be /'],
    ['-v /a:/b:rx', '--volume /a:/b:rx: unknown option "rx"'],
    ['-v /a:/b:O', '--volume /a:/b:O: option O is not supported yet'],
    ['-v /a:/b:ro:x', '--volume /a:/b:ro:x: has more than two colons'],
    ['-v /a:/b --tmpfs /b', 'mount /b: asked for twice'],
    ['--mount type=bnid,dst=/b', '--mount type=bnid,dst=/b: unknown type "bnid"'],
    ['--mount type=bind,dst=/b', '--mount type=bind,dst=/b: src= is missing'],
    ['--mount type=bind,src=/a,dst=/b,foo=1', '--mount type=bind,src=/a,dst=/b,foo=1: unknown field foo=1'],
    ['--tmpfs t', '--tmpfs t: the path in the container must begin with /'],
    ['--tmpfs /t:sise=1m', '--tmpfs /t:sise=1m: not a tmpfs option: "sise=1m"'],
    ['--tmpfs /t:mode=999', '--tmpfs /t:mode=999: not a tmpfs option'],
    ['--device fuse', '--device fuse: the path of a device begins with /'],
    ['--device /dev/a:/dev/b:rx', '--device /dev/a:/dev/b:rx: access "rx"'],
    ['--device vendor.com/gpu=all', '--device vendor.com/gpu=all: not supported yet'],
    ['--device-cgroup-rule c~1', '--device-cgroup-rule c 1: not TYPE MAJOR:MINOR ACCESS'],
    ['--cap-add NET_ADMN', '--cap-add NET_ADMN: no such capability', 'did you mean NET_ADMIN?'],
    ['--security-opt seccom=x', '--security-opt seccom=x: unknown option'],
    ['--security-opt seccomp=', '--security-opt seccomp=: the value is missing'],
    ['--security-opt mask=proc', '--security-opt mask=proc: not an absolute path'],
    ['--security-opt no-new-privileges:maybe', '--security-opt no-new-privileges:maybe: neither true nor false'],
    ['--pid container:', '--pid container:: the container is missing'],
    ['--pid hots', '--pid hots: unknown mode'],
    ['--pid ns:proc/1', '--pid ns:proc/1: the path of a namespace begins with /'],
    ['--userns keep-id', '--userns keep-id: not supported yet'],
    ['--timens=uptime=1', '--timens uptime=1: not private, host or offsets'],
    ['--name -x', '--name -x: not a container name'],
    ['--name a/b', '--name a/b: not a container name'],
    ['-h a~b', '--hostname a b: not a host name'],
    ['--add-host db', '--add-host db: not HOST:IP'],
    ['--add-host db:1.2.3', '--add-host db:1.2.3: "1.2.3" is not an IP address'],
    ['--dns example.org', '--dns example.org: not an IP address'],
    ['--env =x', '--env =x: the name is missing'],
    ['--env-file vars', '--env-file vars: line 6: blanks in the name "C "'],
    ['--env-file binary', '--env-file binary: not UTF-8 text'],
    ['--entrypoint [1]', '--entrypoint [1]: not an array of strings'],
    ['--user a:b:c', '--user a:b:c: not USER or USER:GROUP'],
    ['--user :', '--user :: not USER or USER:GROUP'],
    ['--workdir srv', '--workdir srv: must begin with /'],
    ['--umask 9', '--umask 9: not an octal mask'],
    ['--umask 1000', '--umask 1000: not an octal mask'],
    ['--oom-score-adj 2000', '--oom-score-adj 2000: out of range'],
    ['--timeout -1', '--timeout -1: out of range'],
    ['--stop-signal SIGFOO', '--stop-signal SIGFOO: unknown signal'],
    ['--stop-signal 33', '--stop-signal 33: unknown signal'],
    ['--pull sometimes', '--pull sometimes: unknown policy'],
    ['--platform windows/amd64', '--platform windows/amd64: only linux images can run here'],
    ['--platform a/b/c/d', 'platform "a/b/c/d": not of the form'],
    ['--sysctl kernel/../x=1', '--sysctl kernel/../x=1: not NAME=VALUE'],
    ['--sysctl net.core', '--sysctl net.core: not NAME=VALUE'],
    ['--shm-size 0', '--shm-size 0: must be more than 0'],
    ['--rootfs=', "--rootfs '': the directory is missing"],
    ['--rootfs=/x:Q', '--rootfs /x:Q: only the option :O'],
    ['--restart=always', '--restart always: needs --detach', 'in the foreground your shell starts it again'],
    ['-d --restart=sometimes', '--restart sometimes: unknown policy', 'no, on-failure[:N], always or unless-stopped'],
    ['-d --restart=always:3', '--restart always:3: unknown policy', 'no, on-failure[:N], always or unless-stopped'],
    ['-d --log-driver=syslog', '--log-driver syslog: not supported yet'],
    ['-d --log-driver=paper', '--log-driver paper: unknown driver', 'k8s-file, json-file, none or passthrough'],
    ['-d --log-opt=tag=x', '--log-opt tag=x: unknown option', 'max-size=SIZE or max-file=NUMBER'],
    ['--group-add keep-groups', '--group-add keep-groups: not supported yet'],
  ])('%s', (line, message, hint = '') => {
    let caught: unknown
    try {
      options(line)
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(TscrunError)
    const { code, message: text, hint: advice = '' } = caught as TscrunError
    expect({ code, text, advice }).toEqual({
      code: 'USAGE',
      text: expect.stringContaining(message) as string,
      advice: expect.stringContaining(hint) as string,
    })
  })

  it('are the only thing that any text for any flag can come to, beside good ones', () => {
    const anyFlag = fc.constantFrom(...RUN_FLAGS.filter(({ kind }) => kind !== 'bool'))
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'/:=,.-0123456789abmnrw[]') }))
    fc.assert(
      fc.property(anyFlag, text, (flag, value) => {
        let code = 'taken'
        try {
          requestOf([`--${flag.name}=${value}`, 'img', 'sh'])
        } catch (error) {
          code = error instanceof TscrunError ? error.code : String(error)
        }
        expect(['taken', 'USAGE']).toContain(code)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('texts that become paths', () => {
  const path = fc.string({ unit: fc.constantFrom('/', '.', '..', 'a', ' ', 'x/y') })

  it('are absolute and without dots as mount targets, or refused', () => {
    fc.assert(
      fc.property(path, path, (source, target) => {
        let volumes: RunRequest['options']['volumes']
        try {
          volumes = requestOf(['-v', `${source}:${target}`, 'img']).options.volumes
        } catch (error) {
          if (!(error instanceof TscrunError)) throw error
          return
        }
        for (const mount of volumes ?? []) {
          expect(mount.target).toMatch(/^\/[^/]/)
          for (const text of [mount.source ?? '', mount.target]) {
            expect(text.split('/').some((part) => part === '.' || part === '..')).toBe(false)
          }
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('isAddress', () => {
  it("says what node:net's isIP says", () => {
    const near = fc.string({ unit: fc.constantFrom(...'0123456789af.:[]%') })
    fc.assert(
      fc.property(fc.oneof(near, fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (text) => {
        expect(isAddress(text)).toBe(isIP(text) !== 0 && !text.includes('%'))
      }),
      { numRuns: 5000 },
    )
  })
})

describe('parseSignal', () => {
  it('agrees with the numbers of this system', () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      // Two names of one number: the table has the other one.
      if (name === 'SIGIOT' || name === 'SIGPOLL' || name === 'SIGUNUSED') continue
      expect(parseSignal('stop-signal', String(number))).toBe(name)
      expect(parseSignal('stop-signal', name.toLowerCase())).toBe(name)
    }
  })
})

describe('the command line that is kept with a container', () => {
  it.each([
    ['run --creds me:x --name a img sh', 'run --name a img sh'],
    ['--root /x run --creds=me:x -d img', '--root /x run -d img'],
    ['run img tool --creds kept:1', 'run img tool --creds kept:1'],
    ['run --rm img', 'run --rm img'],
  ])('is that of %s without its login', (typed, kept) => {
    const words = typed.split(' ')
    expect(madeBy(words, words.slice(words.indexOf('img')), '/').words.join(' ')).toBe(kept)
  })
})
