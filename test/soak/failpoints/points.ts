import type { Call } from './trace.ts'

/** A place where something changes: a kill strikes before it. */
export interface Point {
  readonly name: string
  /** Who comes by. */
  readonly role: 'cli' | 'monitor' | 'init' | 'other'
  /** The calls that belong to it, as `Call` has them. */
  readonly calls: RegExp
  /** What is about to happen. */
  readonly about: string
}

const CONTAINER = '(?:STORE/containers|RUN(?:/containers)?)/ID'
const VOLUME = 'STORE/volumes/[^. /][^ /]*'
const FILE = '(?:create|write|truncate|chmod|chown)'

const point = (role: Point['role'], name: string, calls: string, about: string): Point => ({
  role,
  name,
  calls: new RegExp(`^(?:${calls})$`),
  about,
})

/** In the order in which a start, a life and a removal come by; of a role the first one that fits counts. */
export const POINTS: readonly Point[] = [
  point('cli', 'directory', 'mkdir STORE/containers/ID', "the container's directory is made"),
  point('cli', 'lock', 'lock STORE/containers/ID', "a container's lock is taken, or asked for"),
  point('cli', 'name', 'link STORE/names/\\S+', 'the name is taken'),
  point('cli', 'run-directory', 'mkdir RUN/ID', 'its directory in /run is made'),
  point('cli', 'range', 'link STORE/ranges/\\d+', 'the range of ids is taken'),
  point('cli', 'lease', '(?:mkdir|link) STORE/leases/\\S+', 'an address of a network is taken'),
  point(
    'cli',
    'volume-making',
    `mkdir STORE/volumes|(?:mkdir|lock|${FILE}|rename) STORE/volumes/\\.new-\\S*(?: STORE/volumes/\\.new-\\S+)?`,
    'a volume is made, beside its place',
  ),
  point('cli', 'volume-place', `rename STORE/volumes/\\.new- ${VOLUME}`, 'the volume gets its place'),
  point('cli', 'volume-lock', `(?:lock|unlock) STORE/volumes/\\S+`, "a volume's lock is taken or let go"),
  point('cli', 'volume-user', `create ${VOLUME}/users/ID`, 'the container is noted as a user of the volume'),
  point(
    'cli',
    'volume-filling',
    `(?:mkdir|chown|chmod|utimes|create|write|rename|setxattr) ${VOLUME}/_data\\S*(?: ${VOLUME}/_data)?`,
    'the volume gets what the image has at its place',
  ),
  point('cli', 'volume-taken', `remove ${VOLUME}/fresh`, 'the volume is no longer new'),
  point('cli', 'names-lock', '(?:lock|unlock) STORE/names', 'the lock for a change of records is taken or let go'),
  point(
    'cli',
    'record',
    `(?:create|write|rename) ${CONTAINER}/(?:container\\.json\\.new|new)(?: ${CONTAINER}/container\\.json)?`,
    'the record is written',
  ),
  point(
    'cli',
    'record-from-disk',
    `remove STORE/containers/ID/container\\.json`,
    'the record of one with --rm leaves the disk, as it starts or goes',
  ),
  point(
    'cli',
    'state',
    `(?:create|write|rename) RUN/ID/(?:state\\.json\\.new|new)(?: RUN/ID/state\\.json)?`,
    'who runs is written to /run',
  ),
  point(
    'cli',
    'old-exit',
    'remove STORE/containers/ID/exit\\.json',
    'how the last life ended is forgotten, as it starts or goes',
  ),
  point('cli', 'monitors', 'mkdir CGROUP/tscrun(?:/monitors)?', 'the cgroup of all monitors is made'),
  point('cli', 'socket', 'bind RUN/ID/monitor', 'the socket of the monitor is made'),
  point('cli', 'program', 'mount|umount', 'the program of the monitor, or a tree to read, is mounted for itself'),
  point('cli', 'process', 'clone|fork', 'the monitor, or a helper, is started'),
  point('cli', 'message', 'send', 'something is told or asked by a socket: the monitor, or the kernel about networks'),
  point('cli', 'event', '(?:create|write|lock|unlock) STORE/events\\.log', 'an event is written'),
  point('cli', 'unlock', 'unlock STORE/containers/ID', "a container's lock is let go"),
  point('cli', 'freeze', '(?:create|write) CGROUP/tscrun/ID/cgroup\\.freeze', 'the container is frozen or thawed'),
  point(
    'cli',
    'cgroup-kill',
    '(?:create|write) CGROUP/tscrun/ID/cgroup\\.kill',
    'all processes of the container are killed',
  ),
  point('cli', 'signal', 'signal', 'a signal is sent'),
  point('cli', 'name-move', 'rename STORE/names/\\S+ STORE/names/\\S+', 'the name is exchanged'),
  point('cli', 'volume-leaving', `remove ${VOLUME}/users/ID`, 'the container lets go of a volume'),
  point('cli', 'volume-end', `remove ${VOLUME}/users`, 'the removal of a volume begins'),
  point('cli', 'volume-out', `rename ${VOLUME} STORE/volumes/\\.gone-`, 'the volume is taken out of sight'),
  point('cli', 'volume-files', 'remove STORE/volumes/\\.(?:gone|new)-\\S*', 'files of the volume go'),
  point('cli', 'name-release', 'remove STORE/names/\\S+', 'the name is given back'),
  point('cli', 'range-release', 'remove STORE/ranges/\\S+', 'the range of ids is given back'),
  point('cli', 'lease-release', 'remove STORE/leases/\\S+', 'the address is given back'),
  point('cli', 'run-files', 'remove RUN/ID(?:/\\S+)?', 'its directory in /run goes'),
  point('cli', 'files', 'remove STORE/containers/ID(?:/\\S+)?', 'its files go, then its directory'),
  point(
    'cli',
    'prepared',
    `(?:mkdir|${FILE}|rename|lock|unlock|remove|utimes) STORE/prepared\\S*(?: \\S+)?`,
    'the start is kept, to be done again without Node',
  ),
  point(
    'cli',
    'store-directories',
    'mkdir STORE(?:/\\w+)*|(?:create|write) STORE/images/oci-layout',
    'directories of the store are made where they are missing',
  ),
  point(
    'cli',
    'store-locks',
    '(?:create|lock|unlock) STORE/(?:use|index)\\.lock',
    'a lock of the image store is taken or let go',
  ),
  point(
    'cli',
    'blob',
    '(?:create|write|truncate) STORE/work/file',
    'a blob, a record or the index is written, beside its place',
  ),
  point('cli', 'blob-place', 'rename STORE/work/file STORE/images/blobs/sha256/ID', 'a blob gets its place'),
  point(
    'cli',
    'layer',
    '(?:create|lock|unlock|remove|mkdir|write) STORE/(?:work|records)/layer-ID(?:\\.lock|\\.json)?',
    'a layer is unpacked, beside its place',
  ),
  point(
    'cli',
    'layer-place',
    'rename STORE/work/layer-ID STORE/layers/ID|rename STORE/layers/ID STORE/work/\\S+',
    'the layer gets its place, or loses it',
  ),
  point(
    'cli',
    'image-record',
    'rename STORE/work/file STORE/records/(?:layer-)?ID\\.json',
    'the record of an image or a layer gets its place',
  ),
  point('cli', 'index', 'rename STORE/work/file STORE/images/index\\.json', 'the list of images is exchanged'),
  point('cli', 'blob-removal', 'remove STORE/(?:images|records|layers|work)/\\S+', 'what no image has goes'),
  point('cli', 'end', 'exit', 'all is done and said'),

  point(
    'monitor',
    'detach',
    'write CGROUP/tscrun/monitors/cgroup\\.procs|setsid',
    'the monitor leaves the session and the cgroup of its caller',
  ),
  point('monitor', 'log', `${FILE} STORE/containers/ID/log|chown pipe:\\S+`, 'log and streams are opened'),
  point('monitor', 'cgroup', 'mkdir CGROUP/tscrun/ID|write CGROUP/tscrun/ID/\\S+', 'the cgroup is made'),
  point('monitor', 'birth', 'clone', 'the first process is born'),
  point('monitor', 'ids', 'write /proc/PID/(?:[ug]id_map|setgroups)|enter|unshare', 'the first process gets its ids'),
  point(
    'monitor',
    'upper',
    '(?:mkdir|chown|chmod|remove) STORE/containers/ID/(?:upper|work)\\S*',
    'the layer for what it writes is made',
  ),
  point('monitor', 'guard', 'bpf|chown CGROUP/tscrun/ID\\S*', 'devices and cgroup are guarded'),
  point('monitor', 'meeting', 'send', 'the first process, or the command line, is told something'),
  point(
    'monitor',
    'running',
    '(?:create|write|rename) RUN/ID/state\\.json\\.new(?: RUN/ID/state\\.json)?',
    'who runs is written to /run',
  ),
  point('monitor', 'its-event', '(?:create|write|lock|unlock) STORE/events\\.log', 'an event is written'),
  point(
    'monitor',
    'exit',
    '(?:create|write|rename) STORE/containers/ID/exit\\.json\\.new(?: STORE/containers/ID/exit\\.json)?',
    'how it ended is written',
  ),
  point('monitor', 'not-running', 'remove RUN/ID/state\\.json', 'nobody runs any more'),
  point(
    'monitor',
    'ports-noted',
    '(?:create|write|remove) RUN/ID/ports\\.json\\S*',
    'its ports are noted, or are to be taken back',
  ),
  point('monitor', 'ports-open', 'fork|bind socket', 'ports are listened at, rules for them made or taken away'),
  point('monitor', 'ports-closed', 'signal', 'nobody listens at the ports any more'),
  point('monitor', 'its-cgroup-removal', 'remove CGROUP/tscrun/ID\\S*', 'the cgroup is removed'),
  point('monitor', 'its-name-release', 'remove STORE/names/\\S+', 'with --rm: the name is given back'),
  point('monitor', 'its-range-release', 'remove STORE/ranges/\\S+', 'with --rm: the range of ids is given back'),
  point('monitor', 'its-lease-release', 'remove STORE/leases/\\S+', 'with --rm: the address is given back'),
  point(
    'monitor',
    'its-volume-leaving',
    `remove ${VOLUME}/users/ID|(?:lock|unlock) ${VOLUME}`,
    'with --rm: it lets go of a volume',
  ),
  point(
    'monitor',
    'its-volume-end',
    `remove ${VOLUME}(?:/users|/_data|/\\w+\\.json|/fresh)?`,
    'with --rm: its anonymous volume goes',
  ),
  point('monitor', 'its-run-files', 'remove RUN/ID(?:/\\S+)?', 'with --rm: its directory in /run goes'),
  point('monitor', 'its-files', 'remove STORE/containers/ID(?:/\\S+)?', 'with --rm: its files go, then its directory'),
  point(
    'monitor',
    'mounts',
    `mount|umount|(?:mkdir|chown|chmod|mknod|link|create|write|utimes|remove|setxattr) (?:/\\S*|STORE/volumes/\\S+|STORE/containers/ID/\\S+)`,
    'the root filesystem, /dev and volumes are put together',
  ),
  point('monitor', 'its-end', 'exit', 'the monitor ends'),

  point('init', 'ready', 'send', 'the first process hands something back'),
  point(
    'init',
    'identity',
    'setsid|rights|enter|unshare',
    'the first process takes its ids and rights, or lays rights down',
  ),
  point('init', 'command', 'exec .*', 'the command is executed'),
  point(
    'init',
    'inside',
    `mount|umount|clone|fork|write .*|(?:mkdir|chown|chmod|mknod|link|create|remove|utimes) /\\S*`,
    'the mounts of the container are moved into their places',
  ),

  point('other', 'helper', '.*', 'a helper does its work: the extractor of a layer, nft'),
]

/** Undefined for what changes nothing that lasts: programs that are looked for, the shell before Node. */
export function pointOf({ role, text }: Call): Point | undefined {
  const known = role === 'cli' || role === 'monitor' || role === 'init' ? role : 'other'
  if (known === 'cli' && (text.startsWith('exec') || /^(?:write|create) (?!STORE|RUN|CGROUP)/.test(text)))
    return undefined
  return POINTS.find((point) => point.role === known && point.calls.test(text))
}

/**
 * What a row of the page is called: the point, and of one that the monitor or a first process comes by in a later life
 * of the container, `2nd life`. Where others are by then depends on who is faster.
 */
export function rowNameOf(call: Call): string | undefined {
  const name = pointOf(call)?.name
  const isOfALife = call.role === 'monitor' || call.role === 'init'
  return name !== undefined && isOfALife && call.life > 1 ? `${name} (${ordinal(call.life)} life)` : name
}

function ordinal(life: number): string {
  return `${life}${['st', 'nd', 'rd'][life - 1] ?? 'th'}`
}

/** Whether a call has to have a point. */
export function isNamed(call: Call): boolean {
  return (
    pointOf(call) !== undefined ||
    (call.role === 'cli' && /^(?:exec|(?:write|create) (?!STORE|RUN|CGROUP))/.test(call.text))
  )
}
