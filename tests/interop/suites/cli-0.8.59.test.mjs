import { suite } from '../lib/cli-suite.mjs'

suite('0.8.59')
