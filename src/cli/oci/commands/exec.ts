import { readFileSync } from 'node:fs'
import type { OciConfig, OciProcess } from '../../../model/config.ts'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import { listenFds } from '../../../runtime/activation.ts'
import { type ExecOptions, execInContainer } from '../../../runtime/exec.ts'
import { readProcess } from '../../../spec/read-config.ts'
import type { FlagValues } from '../../command.ts'
import { badFlag } from '../../errors.ts'
import { withSignals } from '../../signals.ts'
import { forwardTo } from '../forward.ts'
import type { RuntimeCommand } from '../command.ts'
import { stepLogger } from '../steps.ts'
import { given, preservedFds } from '../values.ts'

const OWN_FAILURE = 255

export const exec: RuntimeCommand = {
  name: 'exec',
  usage: 'ID COMMAND [ARG...]',
  description: 'Run one more process in a container',
  flags: [
    { name: 'process', short: 'p', kind: 'string', value: 'file', help: 'Take all of it from this JSON file' },
    { name: 'detach', short: 'd', kind: 'bool', help: 'Do not wait for its end' },
    { name: 'pid-file', kind: 'string', value: 'file', help: 'Write its pid here' },
    { name: 'console-socket', kind: 'string', value: 'socket', help: "Send the terminal's master here" },
    { name: 'pidfd-socket', kind: 'string', value: 'socket', help: 'Send its pidfd here' },
    { name: 'tty', short: 't', kind: 'bool', help: 'Give it a terminal' },
    { name: 'cwd', kind: 'string', value: 'dir', help: 'Working directory in the container' },
    { name: 'env', short: 'e', kind: 'list', value: 'name=value', help: 'Set an environment variable' },
    { name: 'user', short: 'u', kind: 'string', value: 'uid[:gid]', help: 'User and group' },
    { name: 'additional-gids', short: 'g', kind: 'list', value: 'gid', help: 'One more group', split: true },
    { name: 'cap', short: 'c', kind: 'list', value: 'name', help: 'One more capability' },
    { name: 'no-new-privs', kind: 'bool', help: 'Nothing it runs gains privileges' },
    { name: 'preserve-fds', kind: 'string', value: 'n', help: 'Hand descriptors 3 to 2+n on' },
    { name: 'process-label', kind: 'string', value: 'label', help: 'SELinux label' },
    { name: 'apparmor', kind: 'string', value: 'profile', help: 'AppArmor profile' },
    { name: 'ignore-paused', kind: 'bool', help: 'Also in a paused container: it runs after the next resume' },
    { name: 'cgroup', kind: 'string', value: 'path', help: "Run it in this cgroup below the container's" },
    { name: 'no-subreaper', kind: 'bool', help: 'Accepted; there is none' },
  ],
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  passThrough: true,
  failure: OWN_FAILURE,
  async run({ flags, operands, globals }) {
    const [id = '', ...args] = operands
    const file = flags.text('process')
    if (file === undefined && args.length === 0) {
      throw new TscrunError('USAGE', 'exec: the command is missing', {
        subject: 'exec',
        hint: 'or give --process FILE',
      })
    }
    const fromFile = file === undefined ? undefined : readProcess(readProcessFile(file))
    const options: ExecOptions = {
      root: globals.root,
      id,
      process: (config) => withListenFds(fromFile ?? processOf(flags, args, config)),
      detach: flags.bool('detach'),
      preserveFds: preservedFds(flags),
      ignorePaused: flags.bool('ignore-paused'),
      ...given(flags, 'pid-file', 'pidFile'),
      ...given(flags, 'console-socket', 'consoleSocket'),
      ...given(flags, 'pidfd-socket', 'pidfdSocket'),
      ...given(flags, 'cgroup', 'cgroup'),
      ...stepLogger(globals),
    }
    // A detached one is waited for in a call of the kernel, where no handler runs: a signal then ends us as any program.
    if (options.detach) {
      await execInContainer(options)
      return 0
    }
    const exit = await withSignals((signals) => execInContainer({ ...options, onLaunched: forwardTo(signals) }))
    return exit?.exitCode ?? 0
  },
}

function readProcessFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    const reason = errno === 'ENOENT' ? 'no such file or directory' : errno
    throw new TscrunError('USAGE', `--process ${file}: ${reason}`, { errno, subject: file, cause: error })
  }
}

function withListenFds(process: OciProcess): OciProcess {
  const count = listenFds()
  if (count === 0) return process
  return { ...process, env: [...(process.env ?? []), `LISTEN_FDS=${count}`] }
}

/** The container's own process, changed as the flags say. */
function processOf(flags: FlagValues, args: readonly string[], config: OciConfig): OciProcess {
  const own = config.process
  if (own === undefined)
    throw new TscrunError('INVALID_CONFIG', 'config.json: process: missing', { subject: 'process' })
  const { consoleSize: _, ...rest } = own
  const gids = flags.list('additional-gids').map((gid) => numberOf('additional-gids', gid))
  const process: OciProcess = {
    ...rest,
    args,
    terminal: flags.bool('tty'),
    cwd: flags.text('cwd') ?? own.cwd,
    env: [...(own.env ?? []), ...flags.list('env').map(checkedVariable)],
    user: {
      ...own.user,
      ...userOf(flags.text('user')),
      additionalGids: [...(own.user.additionalGids ?? []), ...gids],
    },
    noNewPrivileges: flags.bool('no-new-privs', own.noNewPrivileges === true),
  }
  const [label, profile] = [flags.text('process-label'), flags.text('apparmor')]
  return {
    ...process,
    ...(label === undefined ? {} : { selinuxLabel: label }),
    ...(profile === undefined ? {} : { apparmorProfile: profile }),
    ...(flags.has('cap') ? { capabilities: withMore(own.capabilities ?? {}, flags.list('cap')) } : {}),
  }
}

/** Without ambient ones: only what is root may use more than its container (CVE-2022-29162). */
function withMore(
  sets: NonNullable<OciProcess['capabilities']>,
  names: readonly string[],
): NonNullable<OciProcess['capabilities']> {
  const more = names.map((name) => name.toUpperCase().replace(/^(?:CAP_)?/, 'CAP_'))
  const add = (set: readonly string[] = []): string[] => [...new Set([...set, ...more])]
  return { ...sets, bounding: add(sets.bounding), effective: add(sets.effective), permitted: add(sets.permitted) }
}

/** `UID` or `UID:GID`: names are for the caller to look up (CVE-2026-30892: nothing is half read). */
function userOf(text: string | undefined): { uid?: number; gid?: number } {
  if (text === undefined) return {}
  const [, uid, gid] = /^([0-9]+)(?::([0-9]+))?$/.exec(text) ?? []
  if (uid === undefined) throw badFlag('user', text, 'not a number, nor two as UID:GID')
  return { uid: numberOf('user', uid), ...(gid === undefined ? {} : { gid: numberOf('user', gid) }) }
}

const HIGHEST_ID = 2 ** 31 - 1

function numberOf(flag: string, text: string): number {
  if (/^[0-9]{1,10}$/.test(text) && Number(text) <= HIGHEST_ID) return Number(text)
  throw badFlag(flag, text, `not a number from 0 to ${HIGHEST_ID}`)
}

/** What has no `=` would be taken for a name of ours (CVE-2026-57231). */
function checkedVariable(entry: string): string {
  if (/^[^=\0]+=/.test(entry)) return entry
  throw badFlag('env', entry, 'not of the form NAME=VALUE')
}
