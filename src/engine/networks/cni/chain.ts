import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CniAttachment, CniCall, CniResult } from '../../../model/cni.ts'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import {
  callsOf,
  type CniCommand,
  cniEnvironment,
  cniErrorWords,
  cniInput,
  parseCniResult,
} from '../../../network/cni/call.ts'
import { storeFailure } from '../../state/store-failure.ts'

const TIMEOUT_MS = 120_000
const MAX_RESULT = 1 << 20

/** A network namespace that has something of a network, or is to have it. */
export interface CniTarget {
  /** Letters, digits, `_ . -`: what plugins know it by. */
  readonly id: string
  /** Path of the namespace; undefined where it is gone, which DEL can do without. */
  readonly netns?: string
  readonly attachment: CniAttachment
  /** Where the result is kept between ADD and DEL. */
  readonly cache: string
}

/** Asks the plugins in order; where one fails, all are told to delete. Throws KERNEL_REFUSED with a plugin's own words. */
export async function cniAdd(target: CniTarget): Promise<CniResult> {
  checkId(target.id)
  keep(target.cache, '')
  try {
    let result: string | undefined
    for (const call of callsOf('ADD', target.attachment)) result = (await ask('ADD', target, call, result)) ?? result
    const text = result ?? '{}'
    const parsed = parseCniResult(text)
    keep(target.cache, text)
    return parsed
  } catch (error) {
    await cniDelete(target).catch((second: unknown) => {
      // What failed first is what is told.
      if (!(second instanceof TscrunError)) throw second
    })
    throw error
  }
}

/** Is what ADD has made still so? Throws KERNEL_REFUSED where a plugin says no, CONTAINER_STATE where nothing was added. */
export async function cniCheck(target: CniTarget): Promise<void> {
  const result = cached(target)
  if (result === undefined || result === '') {
    throw new TscrunError('CONTAINER_STATE', `network cni:${target.attachment.network}: ${target.id} is not in it`, {
      subject: target.id,
    })
  }
  // CHECK is there since 0.4.0.
  if (target.attachment.disableCheck || target.attachment.cniVersion.startsWith('0.3.')) return
  for (const call of callsOf('CHECK', target.attachment)) await ask('CHECK', target, call, result)
}

/**
 * Takes back what ADD has made, also what it has only begun: every plugin is asked, the last one first. Nothing added is
 * no error. Throws KERNEL_REFUSED with the words of the first that failed; then it can be tried again.
 */
export async function cniDelete(target: CniTarget): Promise<void> {
  const result = cached(target)
  if (result === undefined) return
  let failed: Error | undefined
  for (const call of callsOf('DEL', target.attachment)) {
    try {
      await ask('DEL', target, call, result === '' ? undefined : result)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      failed ??= error
    }
  }
  if (failed !== undefined) throw failed
  rmSync(target.cache, { force: true })
}

/** Undefined where nothing was added, empty where it was only begun. */
function cached({ cache }: CniTarget): string | undefined {
  try {
    return readFileSync(cache, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw storeFailure(error, cache)
  }
}

function keep(path: string, text: string): void {
  try {
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 })
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  } catch (error) {
    throw storeFailure(error, path)
  }
}

async function ask(
  command: CniCommand,
  { id, netns, attachment }: CniTarget,
  call: CniCall,
  prevResult: string | undefined,
): Promise<string | undefined> {
  const { execa } = await import('execa')
  const answer = await execa(call.program, [], {
    argv0: call.type,
    input: cniInput(call, prevResult),
    env: { ...cniEnvironment(command, id, attachment), ...(netns === undefined ? {} : { CNI_NETNS: netns }) },
    extendEnv: false,
    reject: false,
    timeout: TIMEOUT_MS,
    forceKillAfterDelay: 1000,
    maxBuffer: MAX_RESULT,
  })
  if (answer.exitCode === 0) return answer.stdout === '' ? undefined : answer.stdout
  const said = cniErrorWords(answer.stdout === '' ? answer.stderr : answer.stdout)
  const how = answer.timedOut
    ? `not done after ${TIMEOUT_MS / 1000} s, killed`
    : `exit status ${answer.exitCode ?? '?'}`
  throw new TscrunError(
    'KERNEL_REFUSED',
    `CNI network ${attachment.network}: ${call.type} ${command}: ${said || how}`,
    {
      subject: call.program,
      hint: 'the files of /etc/cni/net.d say what it is told',
    },
  )
}

/** CNI specification, CNI_CONTAINERID. */
function checkId(id: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(id)) return
  throw new TscrunError('USAGE', `CNI_CONTAINERID ${JSON.stringify(id)}: it must be letters, digits, _ . -`, {
    subject: id,
  })
}
