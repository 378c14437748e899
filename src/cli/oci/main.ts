import { dispatch } from './dispatch.ts'

void dispatch(process.argv.slice(2)).then((exitCode) => process.exit(exitCode))
