import { dispatch } from './dispatch.ts'
import { endProcess } from './end.ts'
import { reportError } from './errors.ts'
import { printError } from './output/print.ts'

// Before the modules that may fail are loaded: their stack traces then name the sources.
if (process.argv.includes('--debug')) process.setSourceMapsEnabled(true)

// The program: its process ends with the answer, whatever sockets and timers a library keeps open.
process.on('uncaughtException', (error) => {
  const { text, exitCode } = reportError(error, process.argv.includes('--debug'))
  printError(text)
  process.exit(exitCode)
})
void dispatch(process.argv.slice(2)).then(endProcess)
