// Builds dist/: the command line (CJS with lazy chunks), the layer extractor (one CJS file), the library (ESM) and its
// types. Plain JavaScript, because Node 20 runs no TypeScript.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

/** Every program of dist/, what it is made from, and how. */
const BUNDLES = [
  { from: 'src/cli/main.ts', name: 'cli/main', format: 'cjs', extension: 'cjs', chunks: 'cli/[name].cjs' },
  {
    from: 'src/cli/main.ts',
    name: 'run/main',
    format: 'cjs',
    extension: 'cjs',
    chunks: 'run/[name].cjs',
    // All that `tscrun run` of a stored image needs, in one file: each further file costs half a millisecond.
    together: /src\/(?:cli\/(?:main|commands\/run)|engine\/engine)\.ts$/,
  },
  { from: 'src/cli/oci/main.ts', name: 'runtime/main', format: 'cjs', extension: 'cjs', chunks: 'runtime/[name].cjs' },
  // Each of the OCI runtime's verbs that callers wait for in one file, for scripts/start.cjs.
  ...['create', 'start', 'state', 'kill', 'delete', 'exec'].map((verb) => ({
    from: `src/cli/oci/entries/${verb}.ts`,
    name: `runtime/${verb}/main`,
    format: 'cjs',
    extension: 'cjs',
    chunks: `runtime/${verb}/[name].cjs`,
    together: new RegExp(`src/cli/oci/entries/${verb}\\.ts$`),
  })),
  {
    from: 'src/images/extractor/main.ts',
    name: 'extractor',
    format: 'cjs',
    extension: 'cjs',
    chunks: 'extractor/[name].cjs',
  },
  { from: 'src/index.ts', name: 'index', format: 'esm', extension: 'js', chunks: 'lib/[name].js' },
]

/**
 * `import * as fs`: rolldown makes a copy of Node's module with a getter for each of its hundred names, 0.3 ms, and a call
 * at each use. Where nobody asks for its default export the module itself has the same names. The line that goes stays as
 * an empty one, so that the source maps hold.
 */
const plainBuiltins = {
  name: 'plain-builtins',
  renderChunk: (code) => ({
    code: code.replaceAll(/^(node_\w+) = (?:\w+\.)?__toESM\(\1, 1\);$/gm, (line, name) =>
      code.includes(`${name}.default`) ? line : '',
    ),
    map: null,
  }),
}

async function bundle({ from, name, format, extension, chunks, together }) {
  const build = await rolldown({
    input: { [name]: join(root, from) },
    cwd: root,
    platform: 'node',
    // koffi finds its native file next to its own package.
    external: [/^koffi$/, /^@koromix\//],
    resolve: {
      // node-fetch brings a polyfill of 188 kB for what every supported Node has.
      alias: { 'web-streams-polyfill/dist/ponyfill.es2018.js': 'node:stream/web' },
    },
    transform: { target: 'node20.19' },
    plugins: format === 'cjs' ? [plainBuiltins] : [],
    onLog(level, log, handle) {
      // What `run` needs lies in its own file, also where another command imports it lazily.
      if (log.code === 'INEFFECTIVE_DYNAMIC_IMPORT' && together !== undefined) return
      if (log.code === 'UNRESOLVED_IMPORT' || level === 'warn') throw new Error(log.message)
      handle(level, log)
    },
  })
  const { output } = await build.generate({
    format,
    entryFileNames: `[name].${extension}`,
    chunkFileNames: chunks,
    ...(together === undefined ? {} : { codeSplitting: { groups: [{ name: 'together', test: together }] } }),
    // Parsing is a good part of a start; with `--debug` a stack trace is told in the names and lines of the sources.
    // The library's readers have no such flag: it stays as it is.
    minify: format === 'cjs',
    sourcemap: format === 'cjs',
    comments: false,
  })
  await build.close()
  const files = output.map((file) => ({
    path: file.fileName,
    content: file.type === 'chunk' ? file.code : file.source,
  }))
  return format === 'cjs' ? files.map((file) => (file.path.endsWith('/main.cjs') ? signed(file, files) : file)) : files
}

/** With a last line that tells two builds apart: scripts/start.cjs keeps what V8 compiled of one under that name. */
function signed({ path, content }, files) {
  const hash = createHash('sha256')
  for (const file of files) if (file.path.endsWith('.cjs')) hash.update(file.content)
  if (/[^\x00-\x7f]/.test(content)) throw new Error(`${path}: not ASCII, as scripts/start.cjs reads it`)
  return { path, content: `${content.trimEnd()}\n//${hash.digest('hex').slice(0, 16)}\n` }
}

/** Types of the library, for what src/index.ts reaches; `npm run check` is what checks them. Answers what tsc wrote. */
async function types() {
  const project = join(root, 'scripts/tsconfig.types.json')
  const lines = await run(join(root, 'node_modules/.bin/tsc'), ['-p', project, '--listEmittedFiles'])
  return lines.filter((line) => line.startsWith('TSFILE: ')).map((line) => relative(dist, line.slice(8).trim()))
}

function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(text.split('\n'))
      else reject(new Error(`${relative(root, program)} ended with ${code}\n${text}`))
    })
  })
}

/** Under another name first: a start during a build sees the old file or the new one. */
function write({ path, content }) {
  const target = join(dist, path)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(`${target}.new`, content)
  renameSync(`${target}.new`, target)
}

/** Removes what an earlier build left and this one did not write. */
function prune(dir, keep) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) prune(path, keep)
    else if (!keep.has(relative(dist, path))) rmSync(path)
  }
  if (readdirSync(dir).length === 0) rmdirSync(dir)
}

async function main() {
  mkdirSync(dist, { recursive: true })
  const [declarations, ...bundles] = await Promise.all([types(), ...BUNDLES.map(bundle)])
  const files = bundles.flat()
  for (const file of files) write(file)
  // Last: bin/tscrun takes this file for a finished build.
  for (const path of ['runtime.cjs', 'cli.cjs']) write({ path, content: readFileSync(join(root, 'scripts/start.cjs')) })
  prune(dist, new Set(['runtime.cjs', 'cli.cjs', ...declarations, ...files.map(({ path }) => path)]))
}

try {
  await main()
} catch (error) {
  console.error(`build: ${error.message}`)
  process.exitCode = 1
}
