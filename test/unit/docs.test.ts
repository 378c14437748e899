import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { COMMAND_NAMES, RUN_FLAG_NAMES } from './docs-cli.ts'
import { ERROR_EXIT_CODES, type ErrorCode } from '../../src/model/errors.ts'
import { errorTemplates } from './docs-errors.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGES = ['.', 'docs', 'docs/decisions', 'examples'].flatMap((directory) =>
  readdirSync(join(ROOT, directory))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name)),
)

function page(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** `### CODE`, its text up to the next heading. */
function errorSections(): ReadonlyMap<string, string> {
  const [, ...parts] = page('docs/errors.md').split(/^### /m)
  return new Map(parts.map((part) => [part.slice(0, part.indexOf('\n')), part.split(/^## /m)[0] ?? '']))
}

describe('docs/errors.md', () => {
  const sections = errorSections()

  it('has every code and no other', () => {
    expect([...sections.keys()].toSorted()).toEqual(Object.keys(ERROR_EXIT_CODES).toSorted())
  })

  it.each(Object.entries(ERROR_EXIT_CODES))('says that %s ends with %i, what it means and what to do', (code, exit) => {
    const text = sections.get(code) ?? ''
    expect(text).toMatch(new RegExp(`^Exit code ${exit}\\. [A-Z].{20,}`, 'm'))
    expect(text).toMatch(/^Remedy: .{5,}/m)
  })

  const templates = errorTemplates(join(ROOT, 'src'))
  it.each(Object.keys(ERROR_EXIT_CODES) as ErrorCode[])('shows a message of %s that the sources make', (code) => {
    const example = /^ {4}tscrun: (.*)$/m.exec(sections.get(code) ?? '')?.[1] ?? ''
    const known = templates.get(code) ?? []
    expect(
      known.some((pattern) => pattern.test(example)) || known.length === 0,
      `${example}\n${known.join('\n')}`,
    ).toBe(true)
    expect(example).not.toBe('')
  })
})

describe('the pages', () => {
  it.each(PAGES)('%s links only to what is there', (path) => {
    const targets = [...page(path).matchAll(/\]\(([^)\s#]+)(?:#[^)\s]*)?\)/g)].map((match) => match[1] ?? '')
    const local = targets.filter((target) => !/^[a-z]+:/.test(target))
    expect(local.filter((target) => !existsSync(join(ROOT, dirname(path), target)))).toEqual([])
  })

  it.each(PAGES)('%s names only files of the project that are there', (path) => {
    const named = [...page(path).matchAll(/`((?:src|native|scripts|test|bench|examples|docs)\/[\w./-]*\w)`/g)]
    const missing = named.map((match) => match[1] ?? '').filter((name) => !existsSync(join(ROOT, name)))
    // Made by a build or a run.
    expect(missing.filter((name) => !/^(test\/\.cache|bench\/results|native\/(x64|arm64))/.test(name))).toEqual([])
  })

  it.each(PAGES)('%s shows only commands, and flags of `run`, that there are', (path) => {
    const blocks = [...page(path).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '')
    const lines = blocks.flatMap((block) => block.split('\n'))
    const commands = lines.flatMap((line) => /(?:^|[|;] )(?:sudo )?(?:\.\/bin\/)?tscrun (.*)$/.exec(line)?.[1] ?? [])
    expect(commands.map((line) => line.split(/\s/)[0] ?? '').filter((name) => !COMMAND_NAMES.includes(name))).toEqual(
      [],
    )
    const flags = commands.filter((line) => line.startsWith('run ')).flatMap((line) => line.match(/ --[a-z-]+/g) ?? [])
    expect(flags.map((flag) => flag.slice(3)).filter((flag) => !RUN_FLAG_NAMES.includes(flag))).toEqual([])
  })
})
