// A worker in a process of its own: `node worker-process.mjs <worker module> <options as JSON>`.
const [entry, options] = process.argv.slice(2)
const { startWorker } = await import(entry)
const log = { info: line => console.error(line), warn: line => console.error(`warning: ${line}`) }
try {
  const worker = await startWorker({ ...JSON.parse(options), signals: true, log })
  console.log(`ready ${worker.id} ${worker.hash}`)
  await worker.closed
  console.log('closed')
} catch (error) {
  console.log(`failed ${error.code} ${error.stack}`)
  // An exit would wait for a thread that can't be stopped.
  process.exitCode = 1
  if (error.code === 'WORKER_ENDED') setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50)
}
