import type { LayerPhase, PullEvent, TransferVerb } from '../../engine/api.ts'
import { oneLine } from '../errors.ts'
import { formatSize } from './images.ts'

/** Redraws at most so often; a terminal shows no more than that. */
const REDRAW_MS = 80

/** Where progress goes, and what it may do there. */
export interface ProgressTarget {
  readonly write: (text: string) => void
  /** Rows are redrawn in place on a terminal; elsewhere one plain line an event. */
  readonly terminal: boolean
  /** Size of the terminal, asked before each redraw. */
  readonly size: () => { readonly columns: number; readonly rows: number }
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

export interface ProgressView {
  show(event: PullEvent): void
  /** Leaves the last state on the screen and the cursor below it; call it also after a failure. */
  finish(): void
}

interface Layer {
  readonly id: string
  phase: LayerPhase
  current: number
  size: number
  note: string
  /** Bytes a second since the transfer began. */
  rate: number
  /** When it began, and with how many bytes: what an earlier pull left was not brought now. */
  begin: { readonly atMs: number; readonly current: number } | undefined
}

const DOING: Readonly<Record<TransferVerb, string>> = {
  pull: 'Pulling',
  push: 'Pushing to',
  copy: 'Copying to',
  load: 'Loading',
}
const DID: Readonly<Record<TransferVerb, string>> = { pull: 'pulled', push: 'pushed', copy: 'copied', load: 'loaded' }

/** Shows a pull, push or copy: one row per layer on a terminal, a line per change of a layer elsewhere. */
export function createProgress(target: ProgressTarget): ProgressView {
  return target.terminal ? createRows(target) : createLines(target)
}

/** Each event as one JSON object a line, for programs. */
export function createJsonLines(write: (text: string) => void): ProgressView {
  return { show: (event) => write(`${JSON.stringify(event)}\n`), finish: () => undefined }
}

/** What is said of a layer off a terminal; its other phases go by in silence. */
const LINES: Readonly<Partial<Record<LayerPhase, (size: number) => string>>> = {
  downloading: (size) => `downloading ${formatSize(size)}`,
  complete: () => 'complete',
  exists: () => 'already there',
  copying: (size) => `copying ${formatSize(size)}`,
  copied: () => 'copied',
  mounted: () => 'mounted from another repository',
}

function createLines({ write, now }: ProgressTarget): ProgressView {
  const startMs = now()
  return {
    show(event) {
      switch (event.type) {
        case 'resolved':
          write(`${DOING[event.verb]} ${event.reference}\n`)
          break
        case 'layer': {
          const line = LINES[event.phase]?.(event.size)
          if (line !== undefined) write(`${shortId(event.id)}: ${line}\n`)
          break
        }
        case 'retry':
          write(`${retryLine(event)}\n`)
          break
        case 'done':
          write(`${doneLine(event, now() - startMs)}\n`)
          break
        case 'bytes':
          break
        default:
          event satisfies never
      }
    },
    finish() {},
  }
}

function createRows(target: ProgressTarget): ProgressView {
  const layers = new Map<string, Layer>()
  const startMs = target.now()
  let drawn = 0
  let lastDraw = Number.NEGATIVE_INFINITY
  let stale = false
  const draw = (): void => {
    const rows = renderRows([...layers.values()], target.size())
    const up = drawn > 0 ? `\u001b[${drawn}A` : ''
    // Each row is erased before it is written, so that a shorter one leaves nothing behind.
    target.write(up + rows.map((row) => `\r\u001b[2K${row}\n`).join(''))
    drawn = rows.length
    lastDraw = target.now()
    stale = false
  }
  return {
    show(event) {
      if (event.type === 'resolved') target.write(`${DOING[event.verb]} ${event.reference}\n`)
      else if (event.type === 'done') {
        if (stale) draw()
        target.write(`${doneLine(event, target.now() - startMs)}\n`)
        drawn = 0
        layers.clear()
      } else if (event.type === 'retry' && !layers.has(event.id)) {
        // About the manifest: its line goes above the rows, which move down by one.
        target.write(`${drawn > 0 ? `\u001b[${drawn}A\r\u001b[2K` : ''}${retryLine(event)}\n`)
        drawn = 0
        draw()
      } else {
        updateLayer(layers, event, target.now())
        stale = true
        if (event.type !== 'bytes' || target.now() - lastDraw >= REDRAW_MS) draw()
      }
    },
    finish() {
      if (stale) draw()
    },
  }
}

function updateLayer(layers: Map<string, Layer>, event: Extract<PullEvent, { id: string }>, nowMs: number): void {
  const layer = layers.get(event.id) ?? newLayer(event.id)
  layers.set(event.id, layer)
  if (event.type === 'layer') Object.assign(layer, { phase: event.phase, size: event.size, note: '' })
  else if (event.type === 'bytes') {
    layer.begin ??= { atMs: nowMs, current: event.current }
    const seconds = (nowMs - layer.begin.atMs) / 1000
    // The first second says little.
    if (seconds >= 1) layer.rate = (event.current - layer.begin.current) / seconds
    Object.assign(layer, { current: event.current, size: event.size, note: '' })
  } else layer.note = `trying again: ${oneLine(event.reason)}`
}

function newLayer(id: string): Layer {
  return { id, phase: 'waiting', current: 0, size: 0, note: '', rate: 0, begin: undefined }
}

const WORDS: Readonly<Record<LayerPhase, string>> = {
  waiting: 'Waiting',
  downloading: 'Downloading',
  extracting: 'Extracting',
  complete: 'Pull complete',
  exists: 'Already exists',
  copying: 'Copying',
  copied: 'Copied',
  mounted: 'Mounted',
}

/**
 * The rows to draw, none wider than the terminal (a wrapped row would break the way back up). Where there are more
 * layers than lines, finished ones are counted in one row.
 */
export function renderRows(
  layers: readonly Layer[],
  size: { readonly columns: number; readonly rows: number },
): string[] {
  const room = Math.max(2, size.rows - 2)
  const finished = layers.filter(({ phase }) => phase === 'complete' || phase === 'exists')
  const tooMany = layers.length > room
  const shown = tooMany ? layers.filter((layer) => !finished.includes(layer)).slice(0, room - 1) : layers
  const rows = shown.map((layer) => renderLayer(layer, size.columns))
  if (tooMany) rows.unshift(`${finished.length} of ${layers.length} layers complete`)
  return rows.map((row) => [...row].slice(0, Math.max(1, size.columns - 1)).join(''))
}

function renderLayer(layer: Layer, columns: number): string {
  const head = `${shortId(layer.id)}: ${WORDS[layer.phase]}`
  if (layer.note !== '') return `${head} (${layer.note})`
  if ((layer.phase !== 'downloading' && layer.phase !== 'copying') || layer.size <= 0) return head
  const rate = layer.rate > 0 ? ` ${formatSize(Math.round(layer.rate))}/s` : ''
  const numbers = `${formatSize(layer.current)}/${formatSize(layer.size)}${rate}`
  const width = Math.min(50, columns - head.length - numbers.length - 6)
  if (width < 5) return `${head} ${numbers}`
  const filled = Math.min(width, Math.floor((layer.current / layer.size) * width))
  const bar = filled === width ? '='.repeat(width) : `${'='.repeat(filled)}>`.padEnd(width)
  return `${head} [${bar}] ${numbers}`
}

function doneLine(event: Extract<PullEvent, { type: 'done' }>, elapsedMs: number): string {
  const status = event.fresh ? `${DID[event.verb]} in ${(elapsedMs / 1000).toFixed(1)} s` : 'up to date'
  return `Digest: ${event.digest}\nStatus: ${status}: ${event.reference}`
}

function retryLine(event: Extract<PullEvent, { type: 'retry' }>): string {
  return `${shortId(event.id)}: trying again: ${oneLine(event.reason)}`
}

function shortId(digest: string): string {
  return digest.startsWith('sha256:') ? digest.slice('sha256:'.length, 'sha256:'.length + 12) : digest
}
