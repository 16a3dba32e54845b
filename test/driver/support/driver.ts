// A driver in a process of its own, to be killed: <redis url> <mode> <id>
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, range } from '../../../src/index.ts'
import { tasksFile } from './bench.ts'
import { add, same, square, wait } from './tasks.ts'

const [url = '', mode = '', id = ''] = process.argv.slice(2)
const mill = await connect({ redis: url, tasks: tasksFile, threads: 0 })

async function* slowly(count: number) {
  for (let value = 0; value < count; value++) {
    yield { ms: 1, value }
    if (value % 10 === 9) await sleep(20)
  }
}

switch (mode) {
  case 'detached':
    await mill
      .map(
        wait,
        Array.from({ length: 300 }, (_, value) => ({ ms: 2, value })),
        { id, detached: true },
      )
      .submitted()
    console.log('submitted')
    break
  case 'range': {
    let seen = 0
    for await (const y of mill.map(square, range(400_000), { id })) {
      if (++seen % 50_000 !== 0) continue
      console.log(`seen ${seen}, the last was ${y}`)
      await sleep(30)
    }
    break
  }
  case 'windowed': {
    let seen = 0
    for await (const value of mill.map(wait, slowly(100_000), { id })) {
      console.log(`got ${value}`)
      seen++
      if (seen === 60) await sleep(60_000)
    }
    break
  }
  case 'reduce': {
    const job = mill.map(same, range(1_000_000), { id })
    job.reduce(add, 5).catch(console.error)
    for (;;) {
      console.log(`collected ${(await job.progress()).collected}`)
      await sleep(5)
    }
  }
  case 'interrupt':
    for (const options of [{}, { id }]) {
      const job = mill.map(wait, [{ ms: 60_000, value: 1 }], options)
      job.results().catch(console.error)
      await job.submitted()
    }
    console.log('waiting')
    break
}
