import type { OciConfig } from '../model/config.ts'
import type { ContainerState } from './container.ts'
import { stateDocument } from './state.ts'

/** A state with its first process. */
type Made = ContainerState & Required<Pick<ContainerState, 'pid' | 'startTime'>>

/**
 * What the launcher needs to answer `state`, `start`, `kill` and `delete` without Node (native/ordinary): lines with the
 * version of this form, the first process, what is plain about the container (`s` its start, `e` its end), its cgroup;
 * then the document of `state`, with a mark for the pid and one for the status. Undefined where a line could not hold it.
 */
export function briefOf(state: Made, { hooks }: OciConfig): string | undefined {
  const { pid, startTime, cgroup = '' } = state
  if (/[\n\0]/.test(cgroup)) return undefined
  const startsPlainly = (hooks?.poststart ?? []).length === 0
  const hasMore = state.unit !== undefined || state.hostMount !== undefined || state.resctrl !== undefined
  const endsPlainly = (hooks?.poststop ?? []).length === 0 && !hasMore
  const plain = `-${startsPlainly ? 's' : ''}${endsPlainly ? 'e' : ''}`
  const document = JSON.stringify(stateDocument(state, { status: 'created', pid, startTime }), null, 2)
  // Texts of JSON have no mark of this kind, and the first place is that of the document itself: an id has no quotes.
  const marked = document.replace(
    /\n {2}"pid": \d+,\n {2}"status": "created",\n/,
    '\n  "pid": \x01,\n  "status": "\x01",\n',
  )
  return `1\n${pid} ${startTime}\n${plain}\n${cgroup}\n${marked}\n`
}
