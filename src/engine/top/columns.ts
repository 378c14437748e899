import { totalmem } from 'node:os'
import type { ProcessFacts } from './process.ts'
import { capabilityNames, commandLine, cpuShare, cpuTime, elapsed, startTime, stateText, ttyName } from './values.ts'

/** How ids and numbers of a process are called, and when it is. */
export interface TopView {
  readonly nowMs: number
  /** How deep the container's pid namespace lies: its number among `ProcessFacts.pids`. */
  readonly depth: number
  /** In the container's user namespace; 65534 for one that is not there. */
  uid(hostUid: number): number
  gid(hostGid: number): number
  /** By the host's accounts. */
  hostUser(uid: number): string
  hostGroup(gid: number): string
  /** In the container's pid namespace; 0 for one outside. */
  pid(hostPid: number): number
}

export interface Column {
  readonly title: string
  value(process: ProcessFacts, view: TopView): string
}

/** Root is root; other names only the container's own files know, which are not to be trusted. */
const nameOfId = (id: number): string => (id === 0 ? 'root' : String(id))
const list = (names: readonly string[]): string => names.join(',')
const first = (ids: readonly number[], index: number): number => ids[index] ?? 0

const column = (title: string, value: Column['value']): Column => ({ title, value })
const capabilities = (title: string, set: string): Column => column(title, (process) => capabilityNames(process, set))
const named = (title: string, source: Column): Column => ({ ...source, title })
const SECCOMP = ['disabled', 'strict', 'filter']

const SHARED = {
  args: column('COMMAND', commandLine),
  comm: column('COMMAND', ({ comm }) => comm),
  etime: column('ELAPSED', ({ ageSeconds }) => elapsed(ageSeconds)),
  nice: column('NI', ({ nice }) => String(nice)),
  pcpu: column('%CPU', (process) => cpuShare(process).toFixed(1)),
  rss: column('RSS', ({ residentBytes }) => String(Math.round(residentBytes / 1024))),
  stime: column('STIME', (process, { nowMs }) => startTime(process, nowMs)),
  time: column('TIME', ({ cpuSeconds }) => cpuTime(cpuSeconds)),
  tty: column('TTY', ttyName),
  vsz: column('VSZ', ({ virtualBytes }) => String(Math.round(virtualBytes / 1024))),
  user: column('USER', ({ uids }, view) => nameOfId(view.uid(first(uids, 1)))),
  ruser: column('RUSER', ({ uids }, view) => nameOfId(view.uid(first(uids, 0)))),
  group: column('GROUP', ({ gids }, view) => nameOfId(view.gid(first(gids, 1)))),
  rgroup: column('RGROUP', ({ gids }, view) => nameOfId(view.gid(first(gids, 0)))),
} as const

/** podman's words (podman-top(1)): numbers of processes are the container's, `h` before a word says the host's. */
export const DESCRIPTORS: ReadonlyMap<string, Column> = new Map<string, Column>([
  ...Object.entries(SHARED),
  ['pid', column('PID', ({ pids }, { depth }) => String(pids[depth] ?? 0))],
  ['ppid', column('PPID', ({ ppid }, view) => String(view.pid(ppid)))],
  ['pgid', column('PGID', ({ pgid }, view) => String(view.pid(pgid)))],
  ['hpid', column('HPID', ({ pid }) => String(pid))],
  ['huser', column('HUSER', ({ uids }, view) => view.hostUser(first(uids, 1)))],
  ['hgroup', column('HGROUP', ({ gids }, view) => view.hostGroup(first(gids, 1)))],
  ['groups', column('GROUPS', ({ groups }, view) => list(groups.map((gid) => nameOfId(view.gid(gid)))))],
  ['hgroups', column('HGROUPS', ({ groups }, view) => list(groups.map((gid) => view.hostGroup(gid))))],
  ['state', column('STATE', ({ state }) => state)],
  ['seccomp', column('SECCOMP', ({ seccomp }) => SECCOMP[seccomp] ?? String(seccomp))],
  ['label', column('LABEL', ({ label }) => (label === '' ? '?' : label))],
  ['capamb', capabilities('AMBIENT CAPS', 'CapAmb')],
  ['capbnd', capabilities('BOUNDING CAPS', 'CapBnd')],
  ['capeff', capabilities('EFFECTIVE CAPS', 'CapEff')],
  ['capinh', capabilities('INHERITED CAPS', 'CapInh')],
  ['capprm', capabilities('PERMITTED CAPS', 'CapPrm')],
])

/** podman's other spelling, that of ps(1). */
export const CODES: Readonly<Record<string, string>> = {
  '%C': 'pcpu',
  '%G': 'group',
  '%P': 'ppid',
  '%U': 'user',
  '%a': 'args',
  '%c': 'comm',
  '%g': 'rgroup',
  '%n': 'nice',
  '%p': 'pid',
  '%r': 'pgid',
  '%t': 'etime',
  '%u': 'ruser',
  '%x': 'time',
  '%y': 'tty',
  '%z': 'vsz',
}

const uid = column('UID', ({ uids }, view) => String(view.uid(first(uids, 1))))
const gid = column('GID', ({ gids }, view) => String(view.gid(first(gids, 1))))
const [pid, ppid] = [column('PID', ({ pid }) => String(pid)), column('PPID', ({ ppid }) => String(ppid))]
const pgid = column('PGID', ({ pgid }) => String(pgid))
const session = column('SESS', ({ session }) => String(session))
const threads = column('NLWP', ({ threads }) => String(threads))
const memory = column('%MEM', ({ residentBytes }) => ((100 * residentBytes) / totalmem()).toFixed(1))
const stat = column('STAT', stateText)
const wholeCpu = column('C', (process) => String(Math.floor(cpuShare(process))))

/** Keywords of `-o` (ps(1)): numbers of processes are the host's there, as docker has them. */
export const KEYWORDS: ReadonlyMap<string, Column> = new Map<string, Column>([
  ...Object.entries(SHARED),
  ...['pid', 'tgid'].map((name): [string, Column] => [name, pid]),
  ['ppid', ppid],
  ...['pgid', 'pgrp'].map((name): [string, Column] => [name, pgid]),
  ...['sid', 'sess', 'session'].map((name): [string, Column] => [name, session]),
  ...['uid', 'euid'].map((name): [string, Column] => [name, uid]),
  ...['gid', 'egid'].map((name): [string, Column] => [name, gid]),
  ...['euser', 'uname'].map((name): [string, Column] => [
    name,
    { ...SHARED.user, title: name === 'uname' ? 'USER' : 'EUSER' },
  ]),
  ['egroup', { ...SHARED.group, title: 'EGROUP' }],
  ...['cmd', 'command'].map((name): [string, Column] => [
    name,
    { ...SHARED.args, title: name === 'cmd' ? 'CMD' : 'COMMAND' },
  ]),
  ['ucmd', { ...SHARED.comm, title: 'CMD' }],
  ['c', wholeCpu],
  ['%cpu', SHARED.pcpu],
  ...['pmem', '%mem'].map((name): [string, Column] => [name, memory]),
  ...['tt', 'tname'].map((name): [string, Column] => [name, { ...SHARED.tty, title: 'TT' }]),
  ['cputime', SHARED.time],
  ['etimes', column('ELAPSED', ({ ageSeconds }) => String(Math.floor(ageSeconds)))],
  ['start_time', { ...SHARED.stime, title: 'START' }],
  ...['ni'].map((name): [string, Column] => [name, SHARED.nice]),
  ...['stat'].map((name): [string, Column] => [name, stat]),
  ...['s', 'state'].map((name): [string, Column] => [name, column('S', ({ state }) => state)]),
  ...['rssize', 'rsz'].map((name): [string, Column] => [name, { ...SHARED.rss, title: 'RSZ' }]),
  ['vsize', SHARED.vsz],
  ...['nlwp', 'thcount'].map((name): [string, Column] => [name, threads]),
])

/** `ps -ef`, docker's default. */
export const FULL: readonly Column[] = [
  named('UID', SHARED.user),
  pid,
  ppid,
  wholeCpu,
  SHARED.stime,
  SHARED.tty,
  SHARED.time,
  named('CMD', SHARED.args),
]
/** `ps -e`. */
export const SHORT: readonly Column[] = [pid, SHARED.tty, SHARED.time, named('CMD', SHARED.comm)]
/** `ps aux`. */
export const USERS: readonly Column[] = [
  SHARED.user,
  pid,
  SHARED.pcpu,
  memory,
  SHARED.vsz,
  SHARED.rss,
  SHARED.tty,
  stat,
  named('START', SHARED.stime),
  SHARED.time,
  SHARED.args,
]
