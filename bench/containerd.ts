import { spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageRoot } from '../src/syscall/package-root.ts'
import { type Contender, command } from './measure.ts'

/** Of Debian's package, which the tests only unpack: installed, it would start a service. */
const programs = (): string => join(packageRoot(), 'test/.cache/packages/containerd/usr/bin')

export const hasContainerd = (): boolean => existsSync(join(programs(), 'ctr'))

interface Pulled {
  readonly timer: string
  readonly reference: string
  /** A new directory each time. */
  readonly place: () => string
}

/** `ctr images pull`, each time from a containerd of its own whose store is empty; its start is not measured. */
export function containerdContender(name: string, { timer, reference, place }: Pulled): Contender {
  const [daemon, client] = ['containerd', 'ctr'].map((program) => join(programs(), program)) as [string, string]
  return {
    name,
    run: async () => {
      const directory = place()
      const [config, socket] = ['config.toml', 'socket'].map((file) => join(directory, file)) as [string, string]
      writeFileSync(config, configuration(directory, socket))
      // Ends with the bench, also when that one is killed.
      const argv = ['--pdeathsig', 'KILL', daemon, '--config', config]
      const server = spawn('setpriv', argv, { stdio: 'ignore' })
      const ended = new Promise((resolve) => server.once('exit', resolve))
      try {
        await untilAnswering([client, '-a', socket, 'version'])
        return await command(name, [client, '-a', socket, 'images', 'pull', '--plain-http', reference], { timer }).run()
      } finally {
        server.kill('SIGKILL')
        await ended
      }
    },
  }
}

function configuration(directory: string, socket: string): string {
  return `version = 2
root = "${join(directory, 'root')}"
state = "${join(directory, 'state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${socket}"
`
}

async function untilAnswering([program = '', ...args]: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (spawnSync(program, args, { stdio: 'ignore' }).status === 0) return
    await sleep(50)
  }
  throw new Error(`${program} ${args.join(' ')}: no answer`)
}
