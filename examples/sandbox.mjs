// node examples/sandbox.mjs [IMAGE]    Runs a script that nobody trusts, and says how it ended.
import { run, TscrunError } from 'tscrun'

const image = process.argv[2] ?? 'alpine'
const script = 'id -u; touch /file 2>/dev/null || echo "cannot write"; sleep 100'

try {
  const result = await run(image, ['sh', '-c', script], {
    network: 'none',
    user: '65534:65534',
    readOnly: true,
    capDrop: ['ALL'],
    security: { noNewPrivileges: true },
    timeoutMs: 1000,
    reject: false,
  })
  process.stdout.write(result.stdout)
  console.log(result.timedOut ? 'it took too long' : `exit code ${result.exitCode}`)
} catch (error) {
  if (!(error instanceof TscrunError)) throw error
  console.error(`${error.code}: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}`)
  process.exitCode = 1
}
