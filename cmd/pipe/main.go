// Command pipe runs declarative fine-tuning pipelines.
package main

import "os"

func main() { os.Exit(Main()) }
