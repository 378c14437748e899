import { invalid, shown } from './place.ts'
import { checked, type Read, text } from './vocabulary.ts'

/** No kernel has more processors (CONFIG_NR_CPUS) or memory nodes. */
const HIGHEST = 8191

/** Numbers and ranges such as `0-3,7`, of processors or memory nodes. */
export const cpuList: Read<string> = checked(text, (value, at) => {
  for (const part of value.split(',')) {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part)
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (match === null || first > last || last > HIGHEST) {
      throw invalid(at, `${shown(value)} is not a list of numbers`, 'such as 0-3,7')
    }
  }
})
