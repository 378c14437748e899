import { badFlag } from '../errors.ts'
import { alignColumns } from './table.ts'

/** A listing: rows of texts by template field, and how they are headed. */
export interface Listing<Field extends string> {
  readonly headings: Readonly<Record<Field, string>>
  /** Columns of the plain table, in order. */
  readonly columns: readonly Field[]
  readonly rows: readonly Readonly<Record<Field, string>>[]
  /** Without the line of headings. */
  readonly bare?: boolean
}

/**
 * A listing as `--format` wants it: absent or `table` is the plain table; `json` one object a line; `table TEMPLATE` a
 * table of the template's cells, separated by tabs; anything else a template, one line a row. Throws USAGE.
 */
export async function formatListing<Field extends string>(
  listing: Listing<Field>,
  format: string | undefined,
): Promise<string> {
  const { headings, columns, rows, bare = false } = listing
  const lines = bare ? rows : [headings, ...rows]
  if (format === undefined || format === '' || format === 'table') {
    return alignColumns(lines.map((row) => columns.map((field) => printable(row[field]))))
  }
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('')
  const table = /^table\s+/.exec(format)
  const render = await compileFormat(table === null ? format : format.slice(table[0].length))
  if (table === null) return rows.map((row) => `${render(row)}\n`).join('')
  return alignColumns(lines.map((row) => printable(render(row), '\t').split('\t')))
}

/** Objects as `inspect` prints them: an indented array, or a template's line for each. Throws USAGE. */
export async function formatObjects(objects: readonly unknown[], format: string | undefined): Promise<string> {
  if (format === undefined || format === '' || format === 'json') return `${JSON.stringify(objects, null, 4)}\n`
  const render = await compileFormat(format)
  return objects.map((object) => `${render(object)}\n`).join('')
}

/** One object as `info` and `version` print it with `--format`. Throws USAGE. */
export async function formatObject(object: unknown, format: string): Promise<string> {
  if (format === 'json') return `${JSON.stringify(object)}\n`
  return `${(await compileFormat(format))(object)}\n`
}

/** Loads templates only for those who use them; in the text `\t` and `\n` stand for tab and newline, as in docker. */
export async function compileFormat(text: string): Promise<(data: unknown) => string> {
  const { compileTemplate, TemplateError } = await import('./template/evaluate.ts')
  const explain = <T>(action: () => T): T => {
    try {
      return action()
    } catch (error) {
      if (error instanceof TemplateError) throw badFlag('format', text, error.message)
      throw error
    }
  }
  const render = explain(() => compileTemplate(text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')))
  return (data) => explain(() => render(data))
}

/** Names come from images: nothing but `kept` controls the terminal. */
function printable(text: string, kept = ''): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (control) => (kept.includes(control) ? control : '?'))
}
