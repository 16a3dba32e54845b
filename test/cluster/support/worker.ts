// A worker in a process of its own, to be killed: <redis url> <threads>
import { startWorker } from '../../../src/worker/index.ts'
import { tasksFile } from '../../driver/support/bench.ts'

const [redis = '', threads = '1'] = process.argv.slice(2)
const log = { info: (line: string) => console.error(line), warn: (line: string) => console.error(`warning: ${line}`) }
const worker = await startWorker({ tasks: tasksFile, redis, threads: Number(threads), leaseMs: 3000, log })
console.log(`ready ${worker.id}`)
