/** docker's columns: at least this wide, and this far apart. */
const MIN_WIDTH = 10
const GAP = 3

/** Lines of cells, aligned; the last cell of a line is not padded. Each line ends with a newline. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.slice(0, -1).entries()) {
      widths[column] = Math.max(widths[column] ?? MIN_WIDTH, [...cell].length + GAP)
    }
  }
  const pad = (cell: string, width: number): string => cell + ' '.repeat(Math.max(0, width - [...cell].length))
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === row.length - 1 ? cell : pad(cell, widths[column] ?? MIN_WIDTH))).join('')
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('')
}
