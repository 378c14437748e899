import { dispatch } from './dispatch.ts'
import { VERBS } from './verbs.ts'

void dispatch(process.argv.slice(2), VERBS).then((exitCode) => process.exit(exitCode))
