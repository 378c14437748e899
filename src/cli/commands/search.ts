import type { FoundRepository } from '../../registry/search.ts'
import type { Command } from '../command.ts'
import { badFlag } from '../errors.ts'
import { SEARCH_FLAGS } from '../flags/registry.ts'
import { formatListing } from '../output/format.ts'
import { print } from '../output/print.ts'
import { parseAccess } from '../parse/registry.ts'
import { withSignals } from '../signals.ts'

const HEADINGS = { Name: 'NAME', Description: 'DESCRIPTION', Stars: 'STARS', Official: 'OFFICIAL' } as const
const TAG_HEADINGS = { Name: 'NAME', Tag: 'TAG' } as const
/** podman's width of a description. */
const DESCRIPTION = 44

export const searchCommand: Command = {
  name: 'search',
  usage: '[REGISTRY/]TERM',
  description: 'Look for images in a registry',
  flags: SEARCH_FLAGS,
  operands: { min: 1, max: 1, noun: 'term' },
  async run({ flags, operands, engine }) {
    const [term = ''] = operands
    const access = await parseAccess(flags)
    const isWanted = parseFilters(flags.list('filter'))
    const limit = parseLimit(flags.text('limit'))
    const registry = await (await engine()).registry()
    const format = flags.text('format')
    return withSignals(async ({ aborted }) => {
      const request = { ...access, limit, signal: aborted }
      if (flags.bool('list-tags')) {
        const rows = (await registry.tags(term, request)).map((Tag) => ({ Name: term, Tag }))
        print(await formatListing({ headings: TAG_HEADINGS, columns: ['Name', 'Tag'], rows }, format))
        return 0
      }
      const found = (await registry.search(term, request)).filter(isWanted)
      const rows = found.map(({ name, description, stars, official }) => ({
        Name: name,
        Description: flags.bool('no-trunc') ? description : shortened(description),
        Stars: String(stars),
        Official: official ? '[OK]' : '',
      }))
      const columns = ['Name', 'Description', 'Stars', 'Official'] as const
      print(await formatListing({ headings: HEADINGS, columns, rows }, format))
      return 0
    })
  },
}

function shortened(text: string): string {
  return [...text].length <= DESCRIPTION ? text : `${[...text].slice(0, DESCRIPTION - 3).join('')}...`
}

function parseLimit(text: string | undefined): number {
  if (text === undefined || text === '') return 25
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (limit < 1) throw badFlag('limit', text, 'not a number above 0')
  return limit
}

function parseFilters(texts: readonly string[]): (found: FoundRepository) => boolean {
  const tests = texts.map((text): ((found: FoundRepository) => boolean) => {
    const [key, value = ''] = text.split('=', 2)
    if (key === 'stars' && /^\d{1,9}$/.test(value)) return ({ stars }) => stars >= Number(value)
    if (key === 'is-official' && /^(?:true|false)?$/.test(value))
      return ({ official }) => official === (value !== 'false')
    throw badFlag('filter', text, 'not a filter', 'stars=NUMBER or is-official=true')
  })
  return (found) => tests.every((test) => test(found))
}
