import type { DoctorCheck } from '../../engine/api.ts'

const MARKS = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' } as const
const COLOURS = { ok: 32, warn: 33, fail: 31 } as const

/** One line a check, its remedy below where there is one. */
export function formatChecks(checks: readonly DoctorCheck[], colour: boolean): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length)) + 2
  return checks
    .map(({ name, result, detail, remedy }) => {
      const mark = colour ? `\u001b[${COLOURS[result]}m${MARKS[result]}\u001b[0m` : MARKS[result]
      const advice = remedy === undefined ? '' : `${' '.repeat(6)}-> ${remedy}\n`
      return `${mark}  ${name.padEnd(width)}${detail}\n${advice}`
    })
    .join('')
}
