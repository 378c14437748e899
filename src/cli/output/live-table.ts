/**
 * A table that is written over itself. One write a time, each line cleared behind its end and not before: nothing
 * flickers, and what was on the terminal before stays above. Lines that do not fit are cut, since a wrapped one would
 * break the way back up.
 */
export interface LiveTable {
  draw(text: string): void
}

export interface LiveTarget {
  write(text: string): void
  size(): { readonly columns: number; readonly rows: number }
}

export function createLiveTable(target: LiveTarget): LiveTable {
  let drawn = 0
  return {
    draw(text) {
      const { columns, rows } = target.size()
      const lines = text
        .split('\n')
        .slice(0, -1)
        .slice(0, Math.max(1, rows - 1))
        .map((line) => [...line].slice(0, Math.max(1, columns - 1)).join(''))
      const up = drawn > 0 ? `\u001b[${drawn}A` : ''
      target.write(`${up}\r${lines.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`)
      drawn = lines.length
    },
  }
}
