// node examples/pull-with-progress.mjs [IMAGE]    Pulls an image; Ctrl-C ends the pull cleanly.
import { pull } from 'tscrun'

const abort = new AbortController()
process.once('SIGINT', () => abort.abort())

const { id, digest } = await pull(process.argv[2] ?? 'alpine', {
  signal: abort.signal,
  onProgress(event) {
    if (event.type === 'layer') console.log(event.id.slice(7, 19), event.phase)
    if (event.type === 'retry') console.log(event.id.slice(7, 19), event.reason)
  },
})
console.log(`image ${id.slice(7, 19)}, manifest ${digest}`)
