import { resolve } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import { escapeSpecifiers, quote, type UnitRestart } from './unit.ts'

/** `.container` files of podman's quadlet (podman-systemd.unit(5), 5.4), as text. Nothing is read or written here. */

export interface QuadletContainer {
  readonly name: string
  /** Name of an image; undefined with a root directory, which is among the flags. */
  readonly image: string | undefined
  /** The flags of the `run` that made it, by their long names. */
  readonly flags: readonly QuadletFlag[]
  /** Its command's words. */
  readonly words: readonly string[]
  /** Where relative paths in flags begin. */
  readonly directory: string
  /** It has a user namespace and a range of ids of its own. */
  readonly ownUser: boolean
  /** `none`, `host`, names of networks, or another container's; used where no flag says it. */
  readonly network: string
  readonly restart: UnitRestart
  /** Containers whose namespaces it joins: units of these names. */
  readonly requires: readonly string[]
}

export interface QuadletFlag {
  readonly name: string
  readonly value: string
}

/**
 * The key a flag becomes. `text`: a line as it is. `words`: a line that is split, in which quotes count. `true`: a switch.
 * What is in none of these tables podman has nothing like.
 */
type Rule = { readonly text: string } | { readonly words: string } | { readonly true: string }

const RULES: Readonly<Record<string, Rule>> = {
  'add-host': { text: 'AddHost' },
  annotation: { words: 'Annotation' },
  'cap-add': { text: 'AddCapability' },
  'cap-drop': { text: 'DropCapability' },
  device: { text: 'AddDevice' },
  dns: { text: 'DNS' },
  'dns-option': { text: 'DNSOption' },
  'dns-search': { text: 'DNSSearch' },
  entrypoint: { text: 'Entrypoint' },
  env: { words: 'Environment' },
  'env-file': { text: 'EnvironmentFile' },
  expose: { text: 'ExposeHostPort' },
  'group-add': { text: 'GroupAdd' },
  'health-cmd': { text: 'HealthCmd' },
  'health-interval': { text: 'HealthInterval' },
  'health-on-failure': { text: 'HealthOnFailure' },
  'health-retries': { text: 'HealthRetries' },
  'health-start-period': { text: 'HealthStartPeriod' },
  'health-timeout': { text: 'HealthTimeout' },
  hostname: { text: 'HostName' },
  init: { true: 'RunInit' },
  ip: { text: 'IP' },
  ip6: { text: 'IP6' },
  label: { words: 'Label' },
  'log-driver': { text: 'LogDriver' },
  'log-opt': { text: 'LogOpt' },
  mount: { text: 'Mount' },
  network: { text: 'Network' },
  'network-alias': { text: 'NetworkAlias' },
  'pids-limit': { text: 'PidsLimit' },
  publish: { text: 'PublishPort' },
  pull: { text: 'Pull' },
  'read-only': { true: 'ReadOnly' },
  rootfs: { text: 'Rootfs' },
  'shm-size': { text: 'ShmSize' },
  'stop-signal': { text: 'StopSignal' },
  'stop-timeout': { text: 'StopTimeout' },
  sysctl: { words: 'Sysctl' },
  tmpfs: { text: 'Tmpfs' },
  ulimit: { text: 'Ulimit' },
  user: { text: 'User' },
  userns: { text: 'UserNS' },
  volume: { text: 'Volume' },
  workdir: { text: 'WorkingDir' },
}

/** Podman has the flag, quadlet no key. */
const PODMANS_ONLY: ReadonlySet<string> = new Set(
  [
    'authfile blkio-weight cert-dir cgroup-conf cgroupns cpu-period cpu-quota cpu-shares cpus cpuset-cpus cpuset-mems',
    'creds detach-keys device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops interactive ipc',
    'label-file mac-address memory memory-reservation memory-swap no-healthcheck oom-score-adj pid platform privileged publish-all',
    'security-opt timeout tls-verify tty umask uts volumes-from',
  ].flatMap((names) => names.split(' ')),
)

/** The unit itself sees to them. */
const ITS_OWN: ReadonlySet<string> = new Set('cidfile detach dry-run monitor-pidfile name quiet restart rm'.split(' '))

/** Their values are lines, quotes and blanks included; of others quadlet makes several at a blank. */
const WHOLE_LINES: ReadonlySet<string> = new Set(['entrypoint', 'health-cmd', 'volume'])

/** `--security-opt`, by what stands before the `=`. */
const SECURITY_KEYS: Readonly<Record<string, string>> = {
  seccomp: 'SeccompProfile',
  mask: 'Mask',
  unmask: 'Unmask',
}

/** An image may have to be pulled first. */
const PULL_SECONDS = 900

/** Throws USAGE for a flag, by its name, that podman cannot be told. */
export function quadletFile(container: QuadletContainer): string {
  const { name, image, words, requires, restart } = container
  const given = new Set(container.flags.map((flag) => flag.name))
  const requirements = requires.map((other) => `${escapeSpecifiers(other)}.service`)
  return lines([
    '[Unit]',
    `Description=Container ${escapeSpecifiers(name)}`,
    ...requirements.flatMap((unit) => [`Requires=${unit}`, `After=${unit}`]),
    '',
    '[Container]',
    `ContainerName=${inCommand(name)}`,
    ...(image === undefined ? [] : [`Image=${inCommand(image)}`]),
    ...container.flags.flatMap((flag) => linesOf(flag, container)),
    // What the container has here without being asked for it, and with podman would not.
    ...(container.ownUser && !given.has('userns') ? ['UserNS=auto'] : []),
    ...(given.has('network') ? [] : [`Network=${inCommand(container.network)}`]),
    ...(words.length === 0 ? [] : [`Exec=${words.map((word) => quoted(word, name)).join(' ')}`]),
    '',
    '[Service]',
    `Restart=${restart}`,
    `TimeoutStartSec=${PULL_SECONDS}`,
    '',
    '[Install]',
    'WantedBy=multi-user.target default.target',
  ])
}

function linesOf(flag: QuadletFlag, container: QuadletContainer): string[] {
  const { name } = flag
  if (ITS_OWN.has(name)) return []
  const rule = RULES[name]
  if (rule === undefined && !PODMANS_ONLY.has(name)) {
    throw new TscrunError('USAGE', `generate quadlet ${container.name}: podman has nothing like --${name}`, {
      subject: `--${name}`,
      hint: '`tscrun generate systemd --new` makes a unit that runs it with tscrun',
    })
  }
  const value = fromAnywhere(flag, container.directory)
  if (name === 'security-opt') return [securityLine(value, container)]
  if (name === 'user' && isWord(value)) return userLines(value)
  if (rule === undefined) return [podmanLine(name, value, container.name)]
  if ('true' in rule) return value === 'true' ? [`${rule.true}=true`] : []
  if ('words' in rule) return [`${rule.words}=${quoted(value, container.name)}`]
  const plain = WHOLE_LINES.has(name) ? isLine(value) : isWord(value)
  return [plain ? `${rule.text}=${inCommand(value)}` : podmanLine(name, value, container.name)]
}

/** Quadlet takes the blanks around a value away, and goes on in the next line behind a backslash. */
function isLine(value: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  return value !== '' && value === value.trim() && !/[\x00-\x1f\x7f]|\\$/.test(value)
}

/** Read alike by all of quadlet's ways to read a value. */
function isWord(value: string): boolean {
  return /^[^\s"'\\]+$/.test(value)
}

function userLines(value: string): string[] {
  const [user = '', group] = value.split(':')
  return [`User=${inCommand(user)}`, ...(group === undefined ? [] : [`Group=${inCommand(group)}`])]
}

function securityLine(option: string, { name, directory }: QuadletContainer): string {
  const [key = '', value = ''] = option.split(/[=:](.*)/s)
  if (key === 'no-new-privileges') return `NoNewPrivileges=${value !== 'false'}`
  if (key === 'label' && value === 'disable') return 'SecurityLabelDisable=true'
  const known = SECURITY_KEYS[key]
  if (known === undefined || !isWord(value)) return podmanLine('security-opt', option, name)
  const path = key === 'seccomp' && value !== 'unconfined' ? resolve(directory, value) : value
  return `${known}=${inCommand(path)}`
}

function podmanLine(flag: string, value: string, name: string): string {
  return `PodmanArgs=${quoted(`--${flag}=${value}`, name)}`
}

/** Paths as they are from any directory. */
function fromAnywhere({ name, value }: QuadletFlag, directory: string): string {
  if (name === 'env-file' || name === 'label-file' || name === 'authfile' || name === 'cert-dir') {
    return resolve(directory, value)
  }
  if (name === 'rootfs') {
    const [, path = '', rest = ''] = /^(.*?)(:O)?$/s.exec(value) ?? []
    return `${resolve(directory, path)}${rest}`
  }
  if (name === 'volume' && value.startsWith('.')) {
    const [source = '', rest = ''] = value.split(/(:.*)/s)
    return `${resolve(directory, source)}${rest}`
  }
  if (name === 'mount') {
    return value.replace(/(^|,)(source|src)=(\.[^,]*)/, (_, before: string, key: string, path: string) => {
      return `${before}${key}=${resolve(directory, path)}`
    })
  }
  return value
}

/** Quadlet puts values into ExecStart=, where systemd knows specifiers and variables (systemd.service(5)). */
function inCommand(text: string): string {
  return escapeSpecifiers(text).replaceAll('$', '$$$$')
}

/** A word for a line that is split; C's escapes within quotes. Throws USAGE for an empty one: quadlet ends the line there. */
function quoted(word: string, name: string): string {
  if (word === '') {
    throw new TscrunError(
      'USAGE',
      `generate quadlet ${name}: its command has an empty word, which quadlet cannot hold`,
      {
        subject: name,
        hint: '`tscrun generate systemd --new` makes a unit that runs it with tscrun',
      },
    )
  }
  return quote(inCommand(word))
}

function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`
}
