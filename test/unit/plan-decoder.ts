import type { PlanHeader } from './plan-header.ts'

/** What the stage finds in an encoded plan, read by the layout of plan.h alone. */
export interface DecodedPlan {
  readonly header: Readonly<Record<string, number>>
  /** Steps of the parent, child and teardown column. */
  readonly columns: readonly (readonly DecodedStep[])[]
  readonly pumps: readonly { readonly from: number; readonly to: number; readonly flags: number }[]
}

export interface DecodedStep {
  readonly op: string
  readonly tolerate: readonly number[]
  /** By letter of the signature: numbers and slots as bigint, texts as string, bytes as Buffer, lists as string[]. */
  readonly args: readonly (bigint | string | Buffer | readonly string[])[]
}

/** Reads a plan as native/stage.c does. Throws where the stage would answer EBADMSG. */
export function decodePlan(bytes: Buffer, contract: PlanHeader): DecodedPlan {
  const names = new Map([...contract.ops].map(([name, { code }]) => [code, name]))
  const read = (struct: string, field: string, at: number, index = 0): number => {
    const place = contract.structs.get(struct)?.fields.get(field)
    if (place === undefined) throw new Error(`plan.h has no ${struct}.${field}`)
    return field === 'op' || field === 'tolerate'
      ? bytes.readUInt16LE(at + place.offset + 2 * index)
      : bytes.readUInt32LE(at + place.offset + 4 * index)
  }
  const header = Object.fromEntries(
    ['magic', 'flags', 'slots', 'inherited', 'pumps', 'cgroup_slot', 'mntns_slot', 'late_slot'].map((field) => [
      field,
      read('plan_header', field, 0),
    ]),
  )
  let at = Math.ceil(sizeOf(contract, 'plan_header') / 8) * 8
  const columns = [0, 1, 2].map((column) => {
    const count = read('plan_header', 'steps', 0, column)
    return Array.from({ length: count }, (): DecodedStep => {
      const op = names.get(read('plan_step', 'op', at)) ?? '?'
      const tolerate = [0, 1, 2].map((index) => read('plan_step', 'tolerate', at, index)).filter((errno) => errno !== 0)
      const size = read('plan_step', 'size', at)
      at += sizeOf(contract, 'plan_step')
      const args = decodeArguments(bytes.subarray(at, at + size), contract.ops.get(op)?.signature ?? '')
      at += size
      return { op, tolerate, args }
    })
  })
  const pumps = Array.from({ length: header['pumps'] ?? 0 }, () => {
    const pump = {
      from: read('plan_pump', 'from', at),
      to: read('plan_pump', 'to', at),
      flags: read('plan_pump', 'flags', at),
    }
    at += sizeOf(contract, 'plan_pump')
    return pump
  })
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes behind the plan`)
  return { header, columns, pumps }
}

export function sizeOf(contract: PlanHeader, struct: string): number {
  const layout = contract.structs.get(struct)
  if (layout === undefined) throw new Error(`plan.h has no struct ${struct}`)
  return layout.size
}

function decodeArguments(bytes: Buffer, signature: string): DecodedStep['args'] {
  let at = 0
  const number = (): bigint => {
    at += 8
    return bytes.readBigUInt64LE(at - 8)
  }
  const block = (): Buffer => {
    const length = Number(number())
    const padded = (length + 8) & ~7
    const content = bytes.subarray(at, at + padded)
    if (content.length !== padded || content.subarray(length).some((byte) => byte !== 0))
      throw new Error('not NUL-padded to 8 bytes')
    at += padded
    return content.subarray(0, length)
  }
  const list = (): string[] => {
    const content = block()
    const texts = content.subarray(8).toString('utf8')
    const parts = texts === '' ? [] : texts.split('\0').slice(0, -1)
    if (BigInt(parts.length) !== content.readBigUInt64LE(0)) throw new Error('a list whose count is wrong')
    return parts
  }
  const args = [...signature].map((letter) => {
    if (letter === 's') return block().toString('utf8')
    if (letter === 'b') return block()
    return letter === 'v' ? list() : number()
  })
  if (at !== bytes.length) throw new Error(`a step has ${bytes.length - at} bytes too many`)
  return args
}
