import type { CheckResult } from '../../engine/system/check/finding.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { SYSTEM_CHECK_FLAGS } from '../flags/system.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'
import { parseProgressFormat } from '../parse/registry.ts'
import { withSignals } from '../signals.ts'

export const systemCheckCommand: Command = {
  name: 'system check',
  usage: '',
  description: 'Look the whole store over: images, layers, containers, volumes; end with 1 where something stays wrong',
  flags: SYSTEM_CHECK_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const json = parseProgressFormat(flags.text('format'))
    const [quick, repair, force] = [flags.bool('quick'), flags.bool('repair'), flags.bool('force')]
    if (force && !repair) throw new TscrunError('USAGE', 'system check --force: needs --repair')
    const system = await (await engine()).system()
    const results: CheckResult[] = []
    await withSignals(async ({ aborted }) => {
      results.push(...(await system.check({ quick, repair, force, signal: aborted })))
      return 0
    })
    print(json ? `${JSON.stringify(results.map(objectOf), undefined, 2)}\n` : report(results, repair))
    return results.some(({ mended }) => !mended) ? 1 : 0
  },
}

function report(results: readonly CheckResult[], repair: boolean): string {
  if (results.length === 0) return 'Nothing is wrong\n'
  const lines = results.map(({ about, subject, what, mended, hint }) => {
    const name = about === 'image' ? shortName(subject) : subject
    const more = mended ? ' (repaired)' : hint === undefined ? '' : ` (${hint})`
    return `${about} ${name}: ${what}${more}\n`
  })
  const open = results.filter(({ mended }) => !mended)
  const mendable = open.filter((result) => result.mendable).length
  const can = repair || mendable === 0 ? '' : `; \`tscrun system check --repair\` can put right ${mendable}`
  const repaired = repair ? `, ${results.length - open.length} repaired` : ''
  return `${lines.join('')}${results.length} found${repaired}${can}\n`
}

function objectOf({ about, subject, what, mended, mendable, hint }: CheckResult): Readonly<Record<string, unknown>> {
  return { About: about, Subject: subject, What: what, Repaired: mended, Repairable: mendable, Hint: hint ?? '' }
}
