import type { DetachedOptions, RunOptions, TmpfsMount, VolumeMount } from '../../model/run-options.ts'
import { TscrunError } from '../../model/errors.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { parseAuthFile, parseCreds } from './auth.ts'
import { type Caller, keyValues, parseEnvironment, parseLabels } from './environment.ts'
import { parseDetached, parseLog } from './detached.ts'
import { parseDevice, parseDeviceRule, parseRootfs } from './files.ts'
import { parseHealth } from './health.ts'
import { parseMount, parseTmpfs, parseVolume, parseVolumesFrom } from './mounts.ts'
import { parseLimits, parseUlimit } from './limits.ts'
import { parseNamespaces } from './namespaces.ts'
import { parseExpose, parseNetwork, parsePublish } from './network.ts'
import { parseInteger, parseSize } from './numbers.ts'
import { parseCapabilityFlag, parseSecurityOptions } from './security.ts'
import {
  parseAddHost,
  parseDns,
  parseDnsOption,
  parseDnsSearch,
  parseEntrypoint,
  parseGroup,
  parseHostname,
  parseName,
  parsePlatformFlag,
  parsePull,
  parseSignal,
  parseSysctls,
  parseUmask,
  parseUser,
  parseWorkdir,
} from './words.ts'

/** What a `run` command line asks for. */
export interface RunRequest {
  /** Absent with `--rootfs`. */
  readonly image: string | undefined
  readonly args: readonly string[]
  readonly options: RunOptions
  readonly log?: NonNullable<DetachedOptions['log']>
  /** With `--detach`. */
  readonly detached?: DetachedOptions
  /** Lines to tell the user: options that were taken and have no effect. */
  readonly notes: readonly string[]
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Options = Mutable<RunOptions>

/**
 * From the flags and operands of `run` or `create` to the engine's options; what is created is as if detached. Throws
 * USAGE about the first value that is wrong.
 */
export function parseRun(
  flags: FlagValues,
  operands: readonly string[],
  caller: Caller,
  command: 'run' | 'create' = 'run',
): RunRequest {
  const options: Options = parseLimits(flags)
  const { image, args } = whatToRun(flags, operands, options, { cwd: caller.cwd, command })
  processOptions(flags, options, caller)
  networkOptions(flags, options)
  securityOptions(flags, options, caller.cwd)
  const notes = mountOptions(flags, options, caller.cwd)
  const namespaces = parseNamespaces(flags)
  if (Object.keys(namespaces).length > 0) options.namespaces = namespaces
  const background = command === 'create' || flags.bool('detach') || (flags.text('detach-keys') ?? '') !== ''
  const health = parseHealth(flags, background)
  if (health !== undefined) options.health = health
  const log = parseLog(flags)
  const detached = parseDetached(flags, background, log)
  return {
    image,
    args,
    options,
    notes,
    ...(log === undefined ? {} : { log }),
    ...(detached === undefined ? {} : { detached }),
  }
}

/**
 * `--rootfs PATH` may be followed by more flags; podman's form, which only says what the first operand is, may be
 * written `--rootfs --rm PATH`.
 */
function whatToRun(
  flags: FlagValues,
  operands: readonly string[],
  options: Options,
  { cwd, command }: { readonly cwd: string; readonly command: string },
): Pick<RunRequest, 'image' | 'args'> {
  const rootfs = flags.text('rootfs') ?? 'false'
  const [image, ...args] = operands
  if ((rootfs === 'false' || rootfs === 'true') && image === undefined) {
    throw new TscrunError('USAGE', `${command}: the ${rootfs === 'true' ? 'root directory' : 'image'} is missing`, {
      subject: command,
      hint: `usage: tscrun ${command} [OPTIONS] IMAGE [COMMAND] [ARG...]`,
    })
  }
  if (rootfs === 'false') return { image, args }
  const path = rootfs === 'true' ? (image ?? '') : rootfs
  options.rootfs = parseRootfs(path, cwd)
  return { image: undefined, args: rootfs === 'true' ? args : operands }
}

/** Sets `key` from the last value of `flag` unless it is absent or empty, which mean the same here. */
function set<K extends keyof RunOptions>(
  flags: FlagValues,
  flag: string,
  options: Options,
  key: K,
  parse: (text: string) => RunOptions[K],
): void {
  const text = flags.text(flag)
  if (text !== undefined && text !== '') options[key] = parse(text)
}

/** Sets `key` to the parsed values of a repeatable flag. */
function setList<T>(
  flags: FlagValues,
  flag: string,
  parse: (text: string) => T | readonly T[],
  assign: (list: T[]) => void,
): void {
  if (flags.has(flag)) assign(flags.list(flag).flatMap((text) => parse(text)))
}

function processOptions(flags: FlagValues, options: Options, caller: Caller): void {
  set(flags, 'name', options, 'name', parseName)
  set(flags, 'workdir', options, 'workdir', parseWorkdir)
  set(flags, 'user', options, 'user', parseUser)
  set(flags, 'stop-signal', options, 'stopSignal', (text) => parseSignal('stop-signal', text))
  set(flags, 'pull', options, 'pull', parsePull)
  set(flags, 'platform', options, 'platform', parsePlatformFlag)
  set(flags, 'max-unpack-size', options, 'maxUnpackSize', (text) => parseSize('max-unpack-size', text))
  set(flags, 'authfile', options, 'authFile', parseAuthFile)
  set(flags, 'cert-dir', options, 'certDir', (text) => text)
  set(flags, 'creds', options, 'creds', parseCreds)
  set(flags, 'umask', options, 'umask', parseUmask)
  set(flags, 'oom-score-adj', options, 'oomScoreAdj', (text) =>
    parseInteger('oom-score-adj', text, { min: -1000, max: 1000 }),
  )
  // setTimeout counts to 2^31 ms.
  const seconds = flags.text('timeout')
  if (seconds !== undefined) options.timeoutMs = parseInteger('timeout', seconds, { min: 0, max: 2_147_483 }) * 1000
  if (options.timeoutMs === 0) delete options.timeoutMs
  set(
    flags,
    'stop-timeout',
    options,
    'stopTimeoutMs',
    (text) => parseInteger('stop-timeout', text, { min: 0, max: 2_147_483 }) * 1000,
  )
  const entrypoint = flags.text('entrypoint')
  if (entrypoint !== undefined) options.entrypoint = parseEntrypoint(entrypoint)
  const env = parseEnvironment(flags.list('env-file'), flags.list('env'), caller.env, caller.readFile)
  if (env.length > 0) options.env = env
  const labels = parseLabels(flags.list('label-file'), flags.list('label'), caller.readFile)
  if (Object.keys(labels).length > 0) options.labels = labels
  if (flags.has('annotation')) options.annotations = keyValues('annotation', flags.list('annotation'))
  for (const [flag, key] of [
    ['init', 'init'],
    ['interactive', 'interactive'],
    ['privileged', 'privileged'],
    ['read-only', 'readOnly'],
    ['rm', 'remove'],
    ['tls-verify', 'tlsVerify'],
    ['tty', 'tty'],
  ] as const) {
    if (flags.has(flag)) options[key] = flags.bool(flag)
  }
}

function networkOptions(flags: FlagValues, options: Options): void {
  set(flags, 'hostname', options, 'hostname', parseHostname)
  const ports = flags.list('publish').flatMap(parsePublish)
  if (ports.length > 0) options.ports = ports
  if (flags.bool('publish-all')) options.publishAll = true
  setList(flags, 'expose', parseExpose, (list) => (options.expose = list))
  const network = parseNetwork(flags, ports.length > 0)
  if (network !== undefined) options.network = network
  setList(flags, 'add-host', parseAddHost, (list) => (options.addHost = list))
  setList(flags, 'dns', parseDns, (list) => (options.dns = list))
  setList(flags, 'dns-search', parseDnsSearch, (list) => (options.dnsSearch = list))
  setList(flags, 'dns-option', parseDnsOption, (list) => (options.dnsOption = list))
}

function securityOptions(flags: FlagValues, options: Options, cwd: string): void {
  setList(
    flags,
    'cap-add',
    (text) => parseCapabilityFlag('cap-add', text),
    (list) => (options.capAdd = list),
  )
  setList(
    flags,
    'cap-drop',
    (text) => parseCapabilityFlag('cap-drop', text),
    (list) => (options.capDrop = list),
  )
  setList(flags, 'device', parseDevice, (list) => (options.devices = list))
  setList(flags, 'device-cgroup-rule', parseDeviceRule, (list) => (options.deviceCgroupRules = list))
  setList(flags, 'group-add', parseGroup, (list) => (options.groupAdd = list))
  setList(flags, 'ulimit', parseUlimit, (list) => (options.ulimits = list))
  if (flags.has('sysctl')) options.sysctls = parseSysctls(flags.list('sysctl'))
  if (flags.has('security-opt')) options.security = parseSecurityOptions(flags.list('security-opt'), cwd)
}

/** Volumes and tmpfs; gives the notes. */
function mountOptions(flags: FlagValues, options: Options, cwd: string): string[] {
  const notes: string[] = []
  const volumes: VolumeMount[] = []
  const tmpfs: TmpfsMount[] = flags.list('tmpfs').map(parseTmpfs)
  const keep = (parsed: { readonly mount: VolumeMount; readonly notes: readonly string[] }): void => {
    volumes.push(parsed.mount)
    notes.push(...parsed.notes)
  }
  for (const text of flags.list('volume')) keep(parseVolume(text, cwd))
  for (const text of flags.list('mount')) {
    const parsed = parseMount(text, cwd)
    if ('volume' in parsed) keep(parsed.volume)
    else tmpfs.push(parsed.tmpfs)
  }
  const targets = new Set<string>()
  for (const { target } of [...volumes, ...tmpfs]) {
    if (targets.has(target))
      throw new TscrunError('USAGE', `mount ${target}: asked for twice`, {
        subject: target,
        hint: 'one of -v, --mount and --tmpfs a directory',
      })
    targets.add(target)
  }
  if (volumes.length > 0) options.volumes = volumes
  setList(flags, 'volumes-from', parseVolumesFrom, (list) => (options.volumesFrom = list))
  if (tmpfs.length > 0) options.tmpfs = tmpfs
  const shm = flags.text('shm-size')
  if (shm !== undefined) {
    options.shmSize = parseSize('shm-size', shm)
    if (options.shmSize === 0) throw badFlag('shm-size', shm, 'must be more than 0')
  }
  return notes
}
