import { dispatch } from './dispatch.ts'
import { endProcess } from '../end.ts'
import { VERBS } from './verbs.ts'

void dispatch(process.argv.slice(2), VERBS).then(endProcess)
