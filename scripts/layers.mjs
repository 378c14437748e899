// Which folder of src/ may use what: part of `npm run check`, tried out in test/unit/layers.test.ts.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** A folder of src/ may import folders of a lower rank and itself, nothing else (ARCHITECTURE.md draws the picture). */
const RANKS = {
  model: 0,
  syscall: 1,
  archive: 2,
  namespaces: 2,
  cgroups: 2,
  overlayfs: 2,
  rootfs: 2,
  security: 2,
  network: 2,
  registry: 2,
  plan: 3,
  spec: 3,
  images: 4,
  monitor: 4,
  runtime: 4,
  engine: 5,
  cli: 6,
  cri: 6,
  'index.ts': 6,
}

/** Beyond the ranks: an OCI runtime is given a bundle, so it knows nothing of images and networks. */
const NEVER = { runtime: ['registry', 'overlayfs', 'network'] }

/** Packages that only one folder may know. */
const ONLY_IN = { koffi: 'syscall', commander: 'cli', 'node-fetch': 'registry' }

/** What these folders compute is the same on every machine at every time. */
const PURE = ['model', 'plan', 'spec']

const PURE_MODULES = new Set(['node:path/posix', 'node:util'])

/** A parameter or constant called process is OCI's, not Node's. */
const OWN_PROCESS = /\bprocess\s*:|\b(const|let)\s+(\{[^}]*)?\bprocess\b/

const IMPURE_WORDS = [
  [/(?<![.\w])process\./, 'process'],
  [/\bDate\b/, 'the clock'],
  [/\bperformance\./, 'the clock'],
  [/\bMath\.random\b/, 'chance'],
]

/** Programs of their own, with an argv and a standard output; everything else answers its caller. */
const PROGRAMS = [/^cli\//, /^images\/extractor\/main\.ts$/]

const PROGRAM_WORDS = [
  [/\bconsole\./, 'prints'],
  [/\bprocess\.(stdout|stderr)\b/, 'prints'],
  [/\bprocess\.exit(Code)?\b/, 'ends the process'],
  [/\bprocess\.argv\b/, 'reads argv'],
]

/** The text of each file, by its path below src/. */
export function readSources(src) {
  const paths = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
  return new Map(paths.map((path) => [path, readFileSync(join(src, path), 'utf8')]))
}

/** One line for each breach of the rules above: `plan/compile.ts: imports node:fs ...`. */
export function violations(sources) {
  const codes = new Map([...sources].map(([path, text]) => [path, withoutComments(text)]))
  const imports = new Map([...codes].map(([path, code]) => [path, importsOf(code)]))
  return [...codes].flatMap(([path, code]) => [
    ...rankBreaches(path, imports.get(path) ?? []),
    ...purityBreaches(path, code, imports),
    ...wordBreaches(path, code),
  ])
}

function rankBreaches(path, imports) {
  const own = folderOf(path)
  const rank = RANKS[own]
  if (rank === undefined) return [`${path}: ${own} has no rank in scripts/layers.mjs`]
  return imports.flatMap(({ specifier }) => {
    const only = ONLY_IN[packageOf(specifier)]
    if (only !== undefined && only !== own) return [`${path}: imports ${specifier}, which only ${only}/ may`]
    const target = resolve(path, specifier)
    if (target === undefined) return []
    const other = folderOf(target)
    if (other === own) return []
    if ((RANKS[other] ?? Infinity) >= rank) return [`${path}: imports ${other}, which is not below ${own}`]
    if (NEVER[own]?.includes(other)) return [`${path}: imports ${other}, which ${own} must not know`]
    return []
  })
}

/** Follows imports that exist at run time: a pure folder may use the pure files of a folder below, and only those. */
function purityBreaches(path, code, imports) {
  if (!PURE.includes(folderOf(path))) return []
  const breaches = IMPURE_WORDS.filter(([word]) => word.test(code))
    .filter(([, what]) => what !== 'process' || !OWN_PROCESS.test(code))
    .map(([, what]) => `${path}: is pure, uses ${what}`)
  const seen = new Set([path])
  for (const file of seen) {
    for (const { specifier, typeOnly } of imports.get(file) ?? []) {
      if (typeOnly) continue
      const target = resolve(file, specifier)
      if (target === undefined && !PURE_MODULES.has(specifier)) {
        breaches.push(`${path}: is pure, reaches ${specifier}${file === path ? '' : ` through ${file}`}`)
      } else if (target !== undefined && folderOf(target) === 'syscall') {
        breaches.push(`${path}: is pure, reaches ${target}${file === path ? '' : ` through ${file}`}`)
      } else if (target !== undefined) seen.add(target)
    }
  }
  return breaches
}

function wordBreaches(path, code) {
  const breaches = []
  if (/\bcatch\s*\{/.test(code)) breaches.push(`${path}: catches an error without looking at it`)
  if (PROGRAMS.some((program) => program.test(path))) return breaches
  for (const [word, what] of PROGRAM_WORDS) if (word.test(code)) breaches.push(`${path}: ${what}, which only cli/ does`)
  return breaches
}

function folderOf(path) {
  return path.split('/')[0] ?? path
}

function packageOf(specifier) {
  return specifier.startsWith('@koromix/') ? 'koffi' : specifier
}

/** The imported file below src/; undefined for packages. */
function resolve(from, specifier) {
  return specifier.startsWith('.') ? normalize(join(dirname(from), specifier)) : undefined
}

function importsOf(code) {
  const found = code.matchAll(
    /^(?:import|export)\s+(type\s)?[^'"()]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|^import\s+'([^']+)'/gm,
  )
  return [...found].map(([text, type, from, dynamic, bare]) => ({
    specifier: from ?? dynamic ?? bare ?? '',
    typeOnly: type !== undefined || /^import\s+\{(\s*type\s[^,}]+,?)+\s*\}/.test(text),
  }))
}

function withoutComments(text) {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1')
}
