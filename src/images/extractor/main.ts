/**
 * The layer extractor: a process of its own that reads one hostile blob while it is fetched and writes its files
 * into one directory, which by then is all it can see; or that copies a stack of layers into one directory.
 * Started by ../extraction.ts, built into dist/extractor.cjs.
 */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { TscrunError, errnoOf } from '../../model/errors.ts'
import { rawSyscall } from '../../syscall/ffi.ts'
import { closeInherited, confineTo, confineToCopying, dieWithParent } from './confine.ts'
import { compressionOf, createDecompressor } from './decompress.ts'
import { extractorError, type Work } from './errors.ts'
import { createLayerWriter } from './layer-writer.ts'
import { mergeLayers } from './merge.ts'
import { createMeter } from './meter.ts'
import {
  type ExtractorLine,
  type ExtractorReply,
  type ExtractorRequest,
  type MergedTree,
  type MergeRequest,
  type UnpackedLayer,
  type UnpackRequest,
} from './protocol.ts'
import { openPlainFiles } from './plain-files.ts'
import { growingBlob, readRequest } from './blob.ts'
import { restartWithoutRings } from './rings.ts'
import { createTarParser } from './tar.ts'

const CHUNK = 1 << 20
/** Enough to tell the compression. */
const MAGIC_BYTES = 8

/** What takes time and needs no request: a process may be started before there is one. */
function prepare(): void {
  rawSyscall()
  dieWithParent(Number(process.argv[2]))
  closeInherited(2)
  restartWithoutRings(2, process.argv.slice(1))
  process.umask(0)
  createHash('sha256')
}

async function work(): Promise<ExtractorReply> {
  prepare()
  const asked = readRequest()
  if (asked === undefined) process.exit(0)
  const request = JSON.parse(asked) as ExtractorRequest
  if (request.work === 'merge') doing = 'copy layers'
  return { ok: true, result: request.work === 'merge' ? merge(request) : await unpack(request) }
}

function merge({ directory, layers, limits }: MergeRequest): MergedTree {
  const view = confineToCopying(directory, layers, limits)
  return mergeLayers(
    Buffer.from(view.target),
    view.sources.map((source) => Buffer.from(source)),
  )
}

async function unpack(request: UnpackRequest): Promise<UnpackedLayer> {
  const hash = createHash('sha256')
  const meter = createMeter(request.limits, (use) => writeLine({ use }))
  const writer = createLayerWriter({ overlay: request.overlay, meter, plainFiles: openPlainFiles() })
  const parser = createTarParser(writer)
  const onTar = (chunk: Buffer): void => {
    meter.tar(chunk.length)
    hash.update(chunk)
    parser.write(chunk)
  }
  const blob = growingBlob(request.blob)
  const start = blob.read(MAGIC_BYTES, MAGIC_BYTES)
  const decompressor = createDecompressor(compressionOf(start), onTar)
  confineTo(request.directory, request.limits)
  // From here on only synchronous fs calls, on paths below the new root.
  if (start.length > 0) await decompressor.write(start)
  for (let chunk = blob.read(1, CHUNK); chunk.length > 0; chunk = blob.read(1, CHUNK)) await decompressor.write(chunk)
  if (start.length > 0) await decompressor.end()
  parser.end()
  const written = writer.finish()
  const latin1 = (name: Buffer): string => name.toString('latin1')
  return {
    diffId: `sha256:${hash.digest('hex')}`,
    use: meter.used(),
    inodes: written.inodes,
    implied: written.implied.map(latin1),
    missingLinks: written.missingLinks.map(([name, target]) => [latin1(name), latin1(target)] as const),
    marked: written.marked,
    ...(written.highestId === undefined ? {} : { highestId: written.highestId }),
  }
}

function failure(during: Work, error: unknown): ExtractorReply {
  // A bug is told with its stack; the parent throws it as such.
  if (!(error instanceof Error) || (!(error instanceof TscrunError) && errnoOf(error) === undefined)) throw error
  const { code, message, hint, errno } = extractorError(during, error)
  return {
    ok: false,
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(errno === undefined ? {} : { errno }),
  }
}

function writeLine(line: ExtractorLine): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(1, bytes, at)
}

function reply(answer: ExtractorReply): void {
  writeLine(answer)
  // Standard input may still be open at the other end; nothing is left to do.
  process.exit(answer.ok ? 0 : 1)
}

let doing: Work = 'unpack layer'
void work()
  .catch((error: unknown) => failure(doing, error))
  .then(reply)
