// Command viaduct is a forward proxy: internal clients leave through one
// address, and the world learns nothing of them.
package main

import (
	"os"

	"viaduct/cmd"
)

func main() {
	os.Exit(cmd.Main(os.Args, os.Stdout, os.Stderr))
}
