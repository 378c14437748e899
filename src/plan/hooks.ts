import type { OciHook, OciHooks } from '../model/config.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { O } from '../model/linux.ts'
import { MEETING, type FdSlot, type Step } from '../model/step.ts'
import { NAMESPACE_FLAGS, type NamespaceSelection } from '../namespaces/select.ts'

/** Where native/ops_hook.c puts the pid of the first process. */
const PID = '\u0001'

/** What others are told of a container. */
type Told = Pick<LaunchSpec, 'id' | 'config'> & { readonly oci?: Pick<NonNullable<LaunchSpec['oci']>, 'bundle'> }

/** The container's state as hooks and others are told it (runtime.md, State), with a place for the pid. */
export function stateText(spec: Told, status: 'creating' | 'created'): string {
  const { id, config, oci } = spec
  const fields = {
    ociVersion: config.ociVersion,
    id,
    status,
    pid: PID,
    bundle: oci?.bundle ?? '',
    ...(config.annotations === undefined ? {} : { annotations: config.annotations }),
  }
  return Object.entries(fields)
    .map(([key, value]) => `${JSON.stringify(key)}:${value === PID ? PID : JSON.stringify(value)}`)
    .join(',')
    .replace(/^/, '{')
    .concat('}')
}

/** What the seccomp agent is told with the listener (config-linux.md, The Container Process State). */
export function listenerText(spec: Told & Pick<LaunchSpec, 'seccomp'>): string | undefined {
  const { listenerPath, listenerMetadata } = spec.config.linux?.seccomp ?? {}
  if (listenerPath === undefined || ((spec.seccomp?.flags ?? 0) & NEW_LISTENER) === 0) return undefined
  const metadata = listenerMetadata === undefined ? '' : `,"metadata":${JSON.stringify(listenerMetadata)}`
  const version = JSON.stringify(spec.config.ociVersion)
  return `{"ociVersion":${version},"fds":["seccompFd"],"pid":${PID}${metadata},"state":${stateText(spec, 'created')}}`
}

/** SECCOMP_FILTER_FLAG_NEW_LISTENER. */
const NEW_LISTENER = 8

/** What hooks add to the two columns. */
export interface HookSteps {
  /** Stage, when the first process has been told that it is ready: prestart and createRuntime. */
  readonly parent: readonly Step[]
  /** Child, when all is mounted and the root is not yet the root. */
  readonly beforeRoot: readonly Step[]
}

/** The hooks of `create` (config.md, POSIX-platform Hooks): all mounts are done, the root is not yet the root. */
export function hookSteps(spec: LaunchSpec, selection: NamespaceSelection): HookSteps {
  const hooks: OciHooks = spec.config.hooks ?? {}
  const { prestart = [], createRuntime = [], createContainer = [] } = hooks
  if (!runsBeforeRoot(hooks)) return { parent: [], beforeRoot: [] }
  const input = stateText(spec, 'creating')
  return {
    parent: [
      { op: 'wait', point: MEETING.mounted },
      ...leaveJoined(selection),
      // Older than the state `creating`: its users and the OCI validation programs know what they are told by crun.
      ...prestart.map((hook, index) => runHook(hook, `prestart[${index}]`, stateText(spec, 'created'))),
      ...createRuntime.map((hook, index) => runHook(hook, `createRuntime[${index}]`, input)),
      { op: 'notify', point: MEETING.mounted },
    ],
    beforeRoot: [
      { op: 'wait', point: MEETING.ready },
      { op: 'notify', point: MEETING.mounted },
      { op: 'wait', point: MEETING.mounted },
      ...createContainer.map((hook, index) => runHook(hook, `createContainer[${index}]`, input)),
    ],
  }
}

export function runsBeforeRoot({ prestart = [], createRuntime = [], createContainer = [] }: OciHooks): boolean {
  return prestart.length + createRuntime.length + createContainer.length > 0
}

/** Those of `start`, in the container, right before the command. */
export function startHooks(spec: LaunchSpec): Step[] {
  const hooks = spec.config.hooks?.startContainer ?? []
  return hooks.map((hook, index) => runHook(hook, `startContainer[${index}]`, stateText(spec, 'created')))
}

/** config.md names no other environment than the hook's own. */
function runHook(hook: OciHook, name: string, input: string): Step {
  return {
    op: 'run_hook',
    path: hook.path,
    args: hook.args === undefined || hook.args.length === 0 ? [hook.path] : hook.args,
    env: hook.env ?? [],
    input,
    timeoutMs: (hook.timeout ?? 0) * 1000,
    about: `hooks.${name} ${hook.path}`,
  }
}

/** What the stage joined so that its child was born there: hooks are run in the namespaces of the caller. */
const LEAVABLE = ['network', 'ipc', 'uts', 'cgroup', 'pid', 'time'] as const

/** Stage, before it joins anything. */
export function keepOwnNamespaces(spec: LaunchSpec, { joined }: NamespaceSelection): Step[] {
  if (!runsBeforeRoot(spec.config.hooks ?? {})) return []
  return LEAVABLE.filter((type) => joined.some((namespace) => namespace.type === type)).map((type): Step => {
    const path = `/proc/self/ns/${FILES[type]}`
    return { op: 'open', fd: `fd:own-${type}`, dir: 'cwd', path, flags: O.RDONLY, mode: 0, resolve: 0 }
  })
}

const FILES = { network: 'net', ipc: 'ipc', uts: 'uts', cgroup: 'cgroup', pid: 'pid', time: 'time' } as const

function leaveJoined({ joined }: NamespaceSelection): Step[] {
  return LEAVABLE.filter((type) => joined.some((namespace) => namespace.type === type)).map((type): Step => {
    const namespace: FdSlot = `fd:own-${type}`
    return { op: 'setns', namespace, type: NAMESPACE_FLAGS[type], about: `leave the ${type} namespace` }
  })
}
