import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')

let consumer = ''
let installed = ''

/** What npm would install, from the built checkout: the tarball, its one runtime dependency, its command. */
beforeAll(() => {
  consumer = mkdtempSync(join(tmpdir(), 'tscrun-package-'))
  installed = join(consumer, 'node_modules/tscrun')
  mkdirSync(join(consumer, 'node_modules/.bin'), { recursive: true })
  mkdirSync(installed)
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', consumer], { cwd: ROOT })
  const tarball = readdirSync(consumer).find((name) => name.endsWith('.tgz')) ?? ''
  execFileSync('tar', ['-xzf', join(consumer, tarball), '-C', installed, '--strip-components=1'])
  for (const name of ['koffi', '@koromix']) symlinkSync(join(MODULES, name), join(consumer, 'node_modules', name))
  for (const name of ['tscrun', 'tscrun-runtime']) {
    symlinkSync(`../tscrun/bin/${name}`, join(consumer, 'node_modules/.bin', name))
  }
}, 60_000)

afterAll(() => {
  rmSync(consumer, { recursive: true })
})

function output(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { cwd: consumer, encoding: 'utf8' }).trim()
}

describe('the package', () => {
  it('holds the command, the native programs and the licence, and no sources or tests', () => {
    expect(readdirSync(installed)).toEqual(expect.arrayContaining(['LICENSE', 'bin', 'dist', 'native', 'package.json']))
    for (const name of ['src', 'test', 'scripts', 'node_modules']) expect(readdirSync(installed)).not.toContain(name)
    expect(readdirSync(join(installed, 'native', process.arch))).toEqual(
      expect.arrayContaining(['launcher', 'libtscrun.so', 'stage']),
    )
    // The path of the Node that built it is this machine's own affair.
    expect(readdirSync(join(installed, 'native', process.arch))).not.toContain('node-path')
  })

  it('has entry points that every resolver understands', async () => {
    const { messages } = await publint({ pkgDir: installed, strict: true })
    expect(messages).toEqual([])
  }, 60_000)

  it('has a command that runs without anything in PATH', () => {
    const version = execFileSync('/usr/bin/env', ['-i', 'node_modules/.bin/tscrun', '--version'], {
      cwd: consumer,
      encoding: 'utf8',
    })
    expect(version).toMatch(/\d+\.\d+\.\d+/)
    const runtime = execFileSync('/usr/bin/env', ['-i', 'node_modules/.bin/tscrun-runtime', '--version'], {
      cwd: consumer,
      encoding: 'utf8',
    })
    expect(runtime).toMatch(/^tscrun-runtime version \d+\.\d+\.\d+\n/)
  })

  it('is loaded by import and by require', () => {
    const names = "['createEngine', 'run', 'pull', 'TscrunError'].map((name) => typeof tscrun[name]).join()"
    const all = 'function,function,function,function'
    expect(
      output('node', ['--input-type=module', '-e', `import * as tscrun from 'tscrun'; console.log(${names})`]),
    ).toBe(all)
    expect(output('node', ['--no-warnings', '-e', `const tscrun = require('tscrun'); console.log(${names})`])).toBe(all)
  })
})

describe('the types of the package', () => {
  const NAMES = '{ createEngine, ExitError, run, start, TscrunError, waitFor }'
  /** What programs write, each with the type they rely on. */
  const USE = `
run('alpine', ['id'], { memory: 64 * 2 ** 20, network: { container: 'web' } })
  .then(({ exitCode, stdout }) => [exitCode satisfies number, stdout satisfies string])
new TscrunError('USAGE', 'no').hint satisfies string | undefined
const describeExit = (error: unknown): number => (error instanceof ExitError ? error.result.exitCode : -1)
async function serve(): Promise<void> {
  const server = await start('alpine', ['httpd'], { restart: { name: 'always', most: 0 }, log: { driver: 'none' } })
  await waitFor.log(server, /ready/, { timeoutMs: 1000 })
  await waitFor.port(server, 80)
  const [published, named]: [number, string] = [await server.port(80), server.name]
  await server.copyIn('/etc/hosts', '/etc/hosts')
  const { stdout } = await server.exec(['id'], { env: ['A=1'], reject: false })
  for await (const { stream, bytes } of server.logs({ follow: true })) {
    const name: 'stdout' | 'stderr' = stream
    console.log(stdout, name, bytes.length, published, named)
  }
  const late: boolean = (await server.wait()).timedOut
  await server[Symbol.asyncDispose]()
  console.log(late, (await createEngine().list({ all: true })).length)
  for (const { status, labels } of await createEngine({ root: '/srv' }).ps({ all: true })) {
    const known: 'created' | 'running' | 'paused' | 'restarting' | 'stopped' = status
    console.log(known, labels['a'] satisfies string | undefined)
  }
}
declare const console: { log(...words: unknown[]): void }
void [describeExit, serve]
`
  const WRONG = [
    "run('alpine', ['id'], { memory: '64m' })",
    "run('alpine', 'id')",
    "start('alpine', [], { restart: 'always' })",
    "start('alpine').exec(['id'])",
    "run('alpine', [], { namespaces: { pid: 'hosts' } })",
    "new TscrunError('NOT_A_CODE', 'no')",
    "waitFor.log('web', /x/)",
  ]
    .map((line) => `// @ts-expect-error\n${line}\n`)
    .join('')
  const IMPORT = `import ${NAMES} from 'tscrun'\n`

  it.each([
    ['an ES module', 'esm.mts', IMPORT, ['--module', 'nodenext']],
    [
      'a CommonJS module',
      'cjs.cts',
      `import tscrun = require('tscrun')\nconst ${NAMES} = tscrun\n`,
      ['--module', 'nodenext'],
    ],
    ['a bundler', 'bundled.ts', IMPORT, ['--module', 'preserve', '--moduleResolution', 'bundler']],
  ])('serve %s, with and without the types of Node', (_, file, head, flags) => {
    writeFileSync(join(consumer, file), `${head}${USE}${WRONG}`)
    const common = ['--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023,esnext.disposable', ...flags]
    const tsc = join(MODULES, '.bin/tsc')
    expect(output(tsc, [...common, '--types', 'node', '--typeRoots', join(MODULES, '@types'), file])).toBe('')
    // Then Buffer and streams are unknown words in the declarations, and only those.
    expect(output(tsc, [...common, '--types', '', '--skipLibCheck', file])).toBe('')
  })

  it('serve the example as it stands, strictly', () => {
    symlinkSync(join(MODULES, 'vitest'), join(consumer, 'node_modules/vitest'))
    copyFileSync(join(ROOT, 'examples/server.test.ts'), join(consumer, 'server.mts'))
    const flags = [
      '--noEmit',
      '--strict',
      '--noUncheckedIndexedAccess',
      '--exactOptionalPropertyTypes',
      '--skipLibCheck',
    ]
    const lib = ['--target', 'es2023', '--lib', 'es2023,esnext.disposable', '--module', 'nodenext']
    const types = ['--types', 'node', '--typeRoots', join(MODULES, '@types')]
    expect(output(join(MODULES, '.bin/tsc'), [...flags, ...lib, ...types, 'server.mts'])).toBe('')
  })
})
