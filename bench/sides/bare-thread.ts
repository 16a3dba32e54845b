import { parentPort } from 'node:worker_threads'
import { spin } from '../work/spin.ts'

export type BareOrder = { readonly type: 'load'; readonly inputs: Float64Array } | { readonly type: 'run' }

export interface BareAnswer {
  readonly seconds: number
  readonly results: Int32Array
}

let inputs: Float64Array = new Float64Array()

parentPort?.on('message', (order: BareOrder) => {
  if (order.type === 'load') {
    inputs = order.inputs
    parentPort?.postMessage({ seconds: 0, results: new Int32Array() } satisfies BareAnswer)
    return
  }
  const started = performance.now()
  const results = new Int32Array(inputs.length)
  for (let at = 0; at < inputs.length; at++) results[at] = spin(inputs[at]!)
  parentPort?.postMessage({ seconds: (performance.now() - started) / 1000, results } satisfies BareAnswer)
})
