import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { connect, range } from 'millrace'
import { encodePng } from './png.js'
import { row } from './tasks.js'

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'mandelbrot.png' },
    width: { type: 'string', default: '1200' },
    height: { type: 'string', default: '750' },
  },
})
const view = {
  width: Number(values.width),
  height: Number(values.height),
  re: -0.7445,
  im: 0.1215,
  span: 0.0135,
  iterations: 2_000,
}

await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
const start = performance.now()
const rows = await mill.map(row, range(view.height), { shared: view }).results()
await writeFile(values.out, encodePng(view.width, rows))
console.log(
  `${values.out}: ${view.width} × ${view.height} pixels in ${((performance.now() - start) / 1000).toFixed(1)} s`,
)
