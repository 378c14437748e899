import type { OciSyscallArg } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'

export type Operator = 'NE' | 'LT' | 'LE' | 'EQ' | 'GE' | 'GT' | 'MASKED_EQ'

/** One comparison of a 64-bit argument: with `value`, under `mask` where the operator is MASKED_EQ. */
export interface Condition {
  /** Which argument, 0 to 5. */
  readonly index: number
  readonly operator: Operator
  /** At most 2^64-1, as `mask` is. */
  readonly value: bigint
  readonly mask: bigint
}

/** All conditions must hold; none at all always holds. */
export interface Rule {
  readonly action: number
  readonly conditions: readonly Condition[]
}

/** The rules of one call in order, the first that holds decides, else `otherwise`. */
export interface Conditional {
  readonly rules: readonly Rule[]
  readonly otherwise: number
}

/** What a filter does about one call: always the same action, or one that depends on the arguments. */
export type Decision = number | Conditional

/**
 * A rule of the configuration as rules of ours. Several conditions on the same argument are alternatives, not one
 * conjunction: runc and crun read them so, and profiles in use depend on it.
 * Throws INVALID_CONFIG for an unknown operator, an index above 5, or a value that is no 64-bit number.
 */
export function splitRule(action: number, args: readonly OciSyscallArg[]): Rule[] {
  const conditions = args.map(readCondition)
  const repeated = new Set(conditions.map(({ index }) => index)).size < conditions.length
  return repeated ? conditions.map((condition) => ({ action, conditions: [condition] })) : [{ action, conditions }]
}

function readCondition(arg: OciSyscallArg): Condition {
  if (!Number.isInteger(arg.index) || arg.index < 0 || arg.index > 5) {
    throw new TscrunError('INVALID_CONFIG', `seccomp argument ${arg.index}: a system call has arguments 0 to 5`)
  }
  const operator = readOperator(arg.op)
  const value = register(arg.value)
  if (operator !== 'MASKED_EQ') return { index: arg.index, operator, value, mask: 0n }
  return { index: arg.index, operator, mask: value, value: register(arg.valueTwo ?? 0) }
}

function readOperator(op: string): Operator {
  switch (op) {
    case 'SCMP_CMP_NE':
      return 'NE'
    case 'SCMP_CMP_LT':
      return 'LT'
    case 'SCMP_CMP_LE':
      return 'LE'
    case 'SCMP_CMP_EQ':
      return 'EQ'
    case 'SCMP_CMP_GE':
      return 'GE'
    case 'SCMP_CMP_GT':
      return 'GT'
    case 'SCMP_CMP_MASKED_EQ':
      return 'MASKED_EQ'
    default:
      throw new TscrunError('INVALID_CONFIG', `seccomp operator ${JSON.stringify(op)}: no such operator`, {
        subject: op,
      })
  }
}

/** A number beyond 2^53-1 has lost digits, and would silently become another filter: such values come as text. */
function register(value: number | string): bigint {
  const exact = typeof value === 'number' ? Number.isSafeInteger(value) : /^[0-9]{1,20}$/.test(value)
  const whole = exact ? BigInt(value) : -1n
  if (whole < 0n || whole >= 2n ** 64n) {
    throw new TscrunError('INVALID_CONFIG', `seccomp argument value ${value}: not a whole number from 0 to 2^64-1`)
  }
  return whole
}
