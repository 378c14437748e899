import type { OciHook, OciHooks } from '../../model/config.ts'
import { variables } from './processes.ts'
import {
  absolutePath,
  type Fields,
  list,
  mapped,
  object,
  optional,
  type Read,
  required,
  signed64,
  text,
} from './vocabulary.ts'
import { invalid } from './place.ts'

/** Seconds; what timers cannot count is as good as never (68 years). */
const timeout: Read<number> = mapped(signed64, (seconds, at) => {
  if (seconds < 1) throw invalid(at, `${seconds} is not a whole number of seconds, 1 or more`)
  return Math.min(Number(seconds), 2 ** 31 - 1)
})

const hook: Read<OciHook> = object<OciHook>({
  path: required(absolutePath),
  args: optional(list(text)),
  env: optional(variables),
  timeout: optional(timeout),
})

const hookList = optional(list(hook))

const HOOKS: Fields<OciHooks> = {
  prestart: hookList,
  createRuntime: hookList,
  createContainer: hookList,
  startContainer: hookList,
  poststart: hookList,
  poststop: hookList,
}

/** In the order in which a container's life reaches them. */
export const HOOK_NAMES = Object.keys(HOOKS) as (keyof OciHooks)[]

/** `hooks` of config.json (config.md, POSIX-platform Hooks). */
export const hooks: Read<OciHooks> = object<OciHooks>(HOOKS)
