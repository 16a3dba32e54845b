import { task } from 'millrace'
import { renderRow, type View } from './fractal.js'

/** One row of the picture. Rows differ a lot in how long they take: nobody has to care. */
export const row = task<number, Uint8Array, View>('row', (index, { shared }) => renderRow(shared, index))
