import { constants } from 'node:os'
import { TscrunError } from '../model/errors.ts'
import { parsePlatform } from '../model/platform.ts'
import { parseReference } from '../model/reference.ts'
import type { RunOptions } from '../model/run-options.ts'
import { hostPlatform } from '../images/host-platform.ts'
import { pullImage } from '../images/pull.ts'
import { openImageStore } from '../images/store.ts'
import { compile } from '../plan/compile.ts'
import { formatPlan } from '../plan/format.ts'
import type { Engine, EngineOptions, ForegroundOptions, Listener } from './api.ts'
import { placeCgroup } from './cgroup.ts'
import { hostFacts } from './host.ts'
import { enginePaths } from './paths.ts'
import { prepareContainer, rootfsSource, type Source } from './prepare.ts'
import { startContainer } from './start.ts'

/** An engine over one store. Nothing is read or made until a verb needs it; two engines share nothing but the disk. */
export function createEngine(options: EngineOptions = {}): Engine {
  const paths = enginePaths(options)
  const store = openImageStore({ root: paths.root })

  async function sourceOf(image: string | undefined, run: RunOptions, listener: Listener): Promise<Source> {
    if (run.rootfs !== undefined) return rootfsSource(run.rootfs)
    if (image === undefined) throw new TscrunError('USAGE', 'no image', { hint: 'name one, or a root directory by --rootfs' })
    const stored = await pullImage(store, parseReference(image), {
      platform: run.platform === undefined ? hostPlatform() : parsePlatform(run.platform),
      policy: run.pull ?? 'missing',
      ...(run.tlsVerify === undefined ? {} : { tlsVerify: run.tlsVerify }),
      ...(listener.onProgress === undefined ? {} : { onProgress: listener.onProgress }),
      ...(listener.signal === undefined ? {} : { signal: listener.signal }),
    })
    return { name: image, imageId: stored.id, layers: stored.layers, config: stored.config, direct: false, scratch: false }
  }

  async function runForeground(image: string | undefined, args: readonly string[], run: ForegroundOptions): Promise<number> {
    requireRoot()
    const source = await sourceOf(image, run, run)
    run.signal?.throwIfAborted()
    const prepared = prepareContainer(paths, source, args, run)
    for (const warning of prepared.warnings) run.onWarning?.(warning)
    const interactive = run.interactive === true
    const handle = startContainer(paths, prepared, {
      run,
      stdio: { kind: run.tty === true ? 'terminal' : 'copied', interactive },
      fds: [0, 1, 2],
      ...(options.onDebug === undefined ? {} : { onDebug: options.onDebug }),
    })
    run.onStarted?.({
      id: handle.id,
      kill: signal => void handle.launched.signal(constants.signals[signal as keyof typeof constants.signals] ?? 0),
    })
    const timer = run.timeoutMs === undefined ? undefined : setTimeout(() => handle.launched.signal(constants.signals.SIGKILL), run.timeoutMs)
    try {
      return (await handle.ended).exitCode
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    runForeground,
    dryRun: async (image, args, run) => {
      const source = await sourceOf(image, { ...run, pull: 'never' }, {})
      const spec = prepareContainer(paths, source, args, run).spec({ stdio: { kind: run.tty === true ? 'terminal' : 'copied', interactive: run.interactive === true } })
      const cgroup = placeCgroup(spec.id, spec.config)
      return formatPlan(compile(cgroup === undefined ? spec : { ...spec, cgroup }))
    },
  } as Engine
}

/** What still needs root says so in one line. */
function requireRoot(): void {
  if (hostFacts().euid === 0) return
  throw new TscrunError('PERMISSION_DENIED', 'running a container needs root here', { hint: 'use sudo; rootless containers are not there yet' })
}
