import type { NetworkOption } from '../../model/run-options.ts'
import type { Plan, Step } from '../../model/step.ts'
import { fillIn, type Identity } from '../../plan/template.ts'
import type { Claims } from '../start/claims.ts'
import type { Sight } from '../start/look.ts'
import type { PreparedContainer, Source } from '../start/prepare.ts'
import { addressesOf, type MadeStart, type StartOptions } from '../start/start.ts'
import type { ContainerRecord } from '../state/record.ts'
import { type Learned, learn } from './learned.ts'
import { filled, type ProvenTemplate } from './plan-cache.ts'

/** A start as it was decided. */
export interface Decision {
  readonly prepared: PreparedContainer
  readonly made: MadeStart
  readonly run: StartOptions['run']
  /** What it was decided from, beside the call. */
  readonly sight: Sight
}

/** A start that is decided before anybody asks for it. */
export interface Foreseen {
  /**
   * What would be decided now of a call, and its network; undefined where something is no longer as it was.
   *
   * @param decide what it asks for with the network that it has
   */
  prepared<T extends StartOptions['run']>(
    source: Source,
    asked: T,
    decide: () => Promise<T>,
  ): Promise<{ readonly prepared: PreparedContainer; readonly run: T } | undefined>
  /** What it is started by, once it has these. */
  made(prepared: PreparedContainer, claims: Claims): MadeStart | undefined
}

/** Options that make nothing of the machine count but what is looked at by `Look`. */
const PLAIN: ReadonlySet<string> = new Set(
  (
    'addHost annotations buffer capAdd capDrop cpuPeriod cpuQuota cpuShares cpus defaultCapabilities dns dnsOption ' +
    'dnsSearch entrypoint env fds groupAdd hostname init input interactive labels maxBuffer memory memoryReservation ' +
    'memorySwap network oomScoreAdj pidsLimit platform pull readOnly reject remove rootfs security shareLoop shmSize ' +
    'signal stdin stdio stopSignal stopTimeoutMs sysctls timeoutMs tmpfs ulimits umask user workdir'
  ).split(' '),
)

function isPlain({ source, ownUser }: PreparedContainer, run: StartOptions['run']): boolean {
  const { volumes, healthcheck } = source.config
  const asked = Object.entries(run).filter(([, value]) => value !== undefined && typeof value !== 'function')
  return (
    asked.every(([name]) => PLAIN.has(name)) &&
    ownUser &&
    isPlainNetwork(run.network) &&
    run.security?.seccomp === undefined &&
    volumes.length === 0 &&
    healthcheck === undefined
  )
}

/** None, or one of its own, in which it asks for nothing that only one container can have. */
function isPlainNetwork(network: NetworkOption | undefined): boolean {
  if (typeof network !== 'object') return network !== undefined
  if (!('networks' in network)) return false
  const [only, other] = network.networks
  return other === undefined && only !== undefined && (only.ip ?? only.ip6 ?? only.mac) === undefined
}

/** A decision, and the records of such starts. */
interface Known {
  decision: Decision
  readonly records: Learned
}

const MOST = 32
const known = new Map<string, Known>()

/** Remembers how a request was decided. Three times the same but for the identity, and the next one can be foreseen. */
export function remember(request: string, decision: Decision): void {
  const { prepared, made, run } = decision
  if (!isPlain(prepared, run)) return
  const identity = identityOf(made)
  const sample = { bytes: Buffer.from(JSON.stringify({ ...made.record, createdMs: 0 })), identity }
  const key = keyOf(request, identity)
  const before = known.get(key)
  if (before === undefined) {
    if (known.size >= MOST) known.delete(known.keys().next().value ?? '')
    known.set(key, { decision, records: { sample } })
  } else {
    learn(before.records, sample)
    before.decision = decision
  }
}

/** What a start of such a request will be; undefined where that is not known. */
export function foresee(request: string, template: ProvenTemplate, identity: Identity): Foreseen | undefined {
  const { decision, records } = known.get(keyOf(request, identity)) ?? {}
  if (decision === undefined || records?.proven === undefined || decision.made.template !== template) return undefined
  const { sight, run, prepared, made } = decision
  const record = JSON.parse(fillIn(records.proven, identity).toString()) as ContainerRecord
  const { id, name, firstId } = identity
  return {
    prepared: async (source, asked, decide) => {
      const { network } = run
      // That the default one is there is among what is looked at; that it is not would be found out by asking only.
      const decided = typeof network === 'object' ? { ...asked, network } : await decide()
      const isSo = decided.network === network && asked.timeoutMs === run.timeoutMs && isSame(source, prepared.source)
      return isSo && sight.isStillThere() ? { prepared: { ...prepared, id, name }, run: decided } : undefined
    },
    made: (its, { idRange, connected }) => {
      const { ip, ip6 } = addressesOf(connected?.connections[0])
      if (its.afresh === undefined || its.id !== id || idRange?.hostId !== firstId) return undefined
      if (ip !== identity.ip || ip6 !== identity.ip6) return undefined
      return {
        ...made,
        plan: relabelled(made.plan, identityOf(made), identity),
        bytes: () => filled(template, identity),
        record: { ...record, createdMs: Date.now() },
      }
    },
  }
}

function identityOf({ record: { id, name, idRange, connections = [] } }: MadeStart): Identity {
  return { id, name, firstId: idRange?.hostId ?? 0, nowMs: 0, ...addressesOf(connections[0]) }
}

/** Templates hold for names and numbers of as many letters. */
function keyOf(request: string, { name, firstId, ip = '', ip6 = '' }: Identity): string {
  return `${name.length} ${String(firstId).length} ${ip.length} ${ip6.length} ${request}`
}

/** The id of an image stands for all that it says. */
function isSame(one: Source, other: Source): boolean {
  const layers = (source: Source): string => source.layers.join('\0')
  return (
    one.name === other.name &&
    one.imageId === other.imageId &&
    one.direct === other.direct &&
    one.scratch === other.scratch &&
    layers(one) === layers(other)
  )
}

/** The same steps for another container, made when somebody asks for them: for the words of one that has failed. */
function relabelled(plan: Plan, from: Identity, to: Identity): Plan {
  const { pumps, inherited, held } = plan
  const words = ({ id, name, ip, ip6 }: Identity): (string | undefined)[] => [id, id.slice(0, 11), name, ip6, ip]
  const pairs = words(from).flatMap((word, at) => (word === undefined ? [] : [[word, words(to)[at] ?? ''] as const]))
  const other = (text: string): string => pairs.reduce((rest, [ours, theirs]) => rest.replaceAll(ours, theirs), text)
  const steps = (column: readonly Step[]): Step[] =>
    column.map(
      (step) =>
        Object.fromEntries(
          Object.entries(step).map(([field, value]) => [field, typeof value === 'string' ? other(value) : value]),
        ) as Step,
    )
  return {
    pumps,
    inherited,
    ...(held === undefined ? {} : { held }),
    get parent() {
      return steps(plan.parent)
    },
    get child() {
      return steps(plan.child)
    },
    get teardown() {
      return steps(plan.teardown)
    },
  }
}
