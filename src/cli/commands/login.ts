import { TscrunError } from '../../model/errors.ts'
import type { Command, FlagValues } from '../command.ts'
import { LOGIN_FLAGS, LOGOUT_FLAGS } from '../flags/registry.ts'
import { print } from '../output/print.ts'
import { parseAccess, parseRegistryName } from '../parse/registry.ts'
import { askLine, askSecret, readSecretFromInput } from '../secret.ts'
import { withSignals } from '../signals.ts'

export const loginCommand: Command = {
  name: 'login',
  usage: '[REGISTRY]',
  description: 'Log in to a registry, and keep the login for pull, push and run',
  flags: LOGIN_FLAGS,
  operands: { min: 0, max: 1, noun: 'registry' },
  async run({ flags, operands, engine }) {
    const registry = await (await engine()).registry()
    const name = parseRegistryName(operands[0] ?? registry.defaultRegistry())
    if (flags.bool('get-login')) {
      const user = await registry.loggedInAs(name, flags.text('authfile'))
      if (user === undefined) throw notLoggedIn(name)
      print(`${user}\n`)
      return 0
    }
    // The file is made where it is not there.
    const { tlsVerify, certDir } = await parseAccess({ ...flags, text: withoutAuthFile(flags) })
    checkPasswordFlags(flags)
    const user = flags.text('username') ?? (await askLine('Username: '))
    const password = await passwordOf(flags)
    if (user === '' || user.includes(':')) {
      throw new TscrunError('USAGE', `login to ${name}: a user name is not empty and has no colon`)
    }
    const authFile = flags.text('authfile')
    const file = await withSignals(({ aborted }) =>
      registry.login(name, {
        user,
        password,
        signal: aborted,
        ...(authFile === undefined ? {} : { authFile }),
        ...(tlsVerify === undefined ? {} : { tlsVerify }),
        ...(certDir === undefined ? {} : { certDir }),
      }),
    )
    if (flags.bool('verbose')) print(`Used:  ${file}\n`)
    print('Login Succeeded!\n')
    return 0
  },
}

function withoutAuthFile(flags: FlagValues): FlagValues['text'] {
  return (name) => (name === 'authfile' ? undefined : flags.text(name))
}

async function passwordOf(flags: FlagValues): Promise<string> {
  if (flags.bool('password-stdin')) return readSecretFromInput()
  return flags.text('password') ?? askSecret('Password: ')
}

function checkPasswordFlags(flags: FlagValues): void {
  if (!flags.bool('password-stdin')) return
  if (flags.has('password')) throw new TscrunError('USAGE', '--password-stdin: there is a --password already')
  if (!flags.has('username')) {
    throw new TscrunError('USAGE', '--password-stdin: needs --username', {
      hint: 'the user name cannot be asked for then',
    })
  }
}

function notLoggedIn(name: string): TscrunError {
  return new TscrunError('REGISTRY_AUTH', `not logged in to ${name}`, {
    subject: name,
    hint: `log in with \`tscrun login ${name}\``,
  })
}

export const logoutCommand: Command = {
  name: 'logout',
  usage: '[REGISTRY]',
  description: 'Forget the login of a registry',
  flags: LOGOUT_FLAGS,
  operands: { min: 0, max: 1, noun: 'registry' },
  async run({ flags, operands, engine }) {
    const registry = await (await engine()).registry()
    const authFile = flags.text('authfile')
    if (flags.bool('all')) {
      if (operands.length > 0) throw new TscrunError('USAGE', '--all: takes no registry')
      await registry.logoutAll(authFile)
      print('Removed the logins of all registries\n')
      return 0
    }
    const name = parseRegistryName(operands[0] ?? registry.defaultRegistry())
    if (!(await registry.logout(name, authFile))) throw notLoggedIn(name)
    print(`Removed the login of ${name}\n`)
    return 0
  },
}
