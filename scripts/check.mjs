// npm run check: everything that can be known without running tscrun, at once. Prints only what is wrong.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readSources, violations } from './layers.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

// Both keep what they know of files that have not changed; the linter of types cannot, and is what one waits for.
const CACHE = 'node_modules/.cache'

const CHECKS = {
  types: ['tsc', '-p', '.', '--incremental', '--tsBuildInfoFile', `${CACHE}/types.json`],
  lint: ['oxlint', '--type-aware', '--deny-warnings'],
  format: ['biome', 'format', '.'],
  unused: ['knip', '--no-progress', '--cache', '--cache-location', `${CACHE}/knip`],
}

// Two of them are written in Go and end before it would pay to collect garbage, which takes a third of their time.
const env = { GOGC: 'off', GOMEMLIMIT: '2GiB', ...process.env }

function run([program, ...args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(`node_modules/.bin/${program}`, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    child.stdout.on('data', (part) => (text += part))
    child.stderr.on('data', (part) => (text += part))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, text }))
  })
}

const programs = Object.entries(CHECKS).map(async ([name, command]) => {
  return { name, by: command.join(' '), ...(await run(command)) }
})
const breaches = violations(readSources(join(root, 'src')))
const layers = { name: 'layers', by: 'scripts/layers.mjs', code: breaches.length, text: breaches.join('\n') }
const results = [...(await Promise.all(programs)), layers]
for (const { name, by, code, text } of results) {
  if (code === 0) continue
  console.error(`== ${name}: ${by}\n${text.trimEnd()}\n`)
  process.exitCode = 1
}
const failed = results.filter(({ code }) => code !== 0).map(({ name }) => name)
console.log(failed.length === 0 ? 'check: all well' : `check: ${failed.join(', ')}`)
