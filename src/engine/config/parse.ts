import { parse, TomlError } from 'smol-toml'
import { TscrunError } from '../../model/errors.ts'
import {
  checkSetting,
  SETTING_KEYS,
  type SettingSource,
  settingFromText,
  settingVariable,
  toSettings,
} from '../../model/settings.ts'
import type { ConfigSources, ResolvedSettings } from './file.ts'

/** The settings of what was found: a variable wins over a file, a later file over an earlier one. Throws INVALID_CONFIG. */
export function parseConfig({ files, variables }: ConfigSources): ResolvedSettings {
  const values = new Map<string, readonly [ReturnType<typeof checkSetting>, SettingSource]>()
  const add = (key: string, value: unknown, source: SettingSource): void => {
    values.set(key, [checkSetting(key, value, source), source])
  }
  for (const { path, text } of files) {
    const source: SettingSource = { name: path, at: (key) => `${path}:${lineOf(text, key)}` }
    for (const [key, value] of Object.entries(parseToml(path, text))) add(key, value, source)
  }
  for (const key of Object.keys(SETTING_KEYS)) {
    const name = settingVariable(key)
    const text = variables[name]
    if (text !== undefined) add(key, settingFromText(key, text), { name, at: () => name })
  }
  return {
    settings: toSettings(values),
    sources: new Map([...values].map(([key, [value, { name }]]) => [key, { value, from: name }])),
  }
}

function parseToml(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [reason = ''] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    throw new TscrunError('INVALID_CONFIG', `${path}:${error.line}: ${reason}`, {
      subject: path,
      hint: 'toml.io describes the format',
      cause: error,
    })
  }
}

/** Where a key stands, or a table of its name. */
function lineOf(text: string, key: string): number {
  const name = key.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
  const pattern = new RegExp(String.raw`^\s*(?:\[+\s*)?["']?${name}["']?\s*[=.\]]`)
  const index = text.split('\n').findIndex((line) => pattern.test(line))
  return Math.max(index, 0) + 1
}
