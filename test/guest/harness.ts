import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const SCRIPT = fileURLToPath(new URL('guest.sh', import.meta.url))

export interface GuestOptions {
  /** /dev/vda, /dev/vdb ...: empty ones of so many MiB, or files that stay. */
  readonly disks?: readonly (number | string)[]
  /** Host directories that are writable in the guest, at the same path. */
  readonly shares?: readonly string[]
  /** MiB; 2048 if not given. */
  readonly memory?: number
  /** Process 1 is systemd, with a system bus. */
  readonly systemd?: boolean
  /** A script that runs before it. */
  readonly prepare?: string
  /** The whole life of the machine. */
  readonly timeoutMs?: number
}

export interface GuestResult {
  /** The command's exit status; 124 when the time was up, 125 when the machine failed. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs one command as root in a new virtual machine with pure cgroup v2 (see guest.sh): the host's files as its root,
 * all changes lost. A boot takes some seconds, so let one command do many things.
 */
export async function inGuest(command: readonly string[], options: GuestOptions = {}): Promise<GuestResult> {
  const seconds = Math.ceil((options.timeoutMs ?? 600_000) / 1000)
  const flags = [
    '--memory',
    String(options.memory ?? 2048),
    '--timeout',
    String(seconds),
    ...(options.systemd === true ? ['--systemd'] : []),
    ...(options.prepare === undefined ? [] : ['--prepare', options.prepare]),
    ...(options.disks ?? []).flatMap((size) => ['--disk', String(size)]),
    ...(options.shares ?? []).flatMap((directory) => ['--share', directory]),
  ]
  const result = await execa('sh', [SCRIPT, ...flags, '--', ...command], { reject: false, stdin: 'ignore' })
  if (result.exitCode === undefined) throw new Error(`guest.sh was ended by ${result.signal}`)
  return { status: result.exitCode, stdout: result.stdout, stderr: result.stderr }
}
