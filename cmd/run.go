package cmd

import (
	"io"

	"github.com/urfave/cli/v2"

	"viaduct/config"
)

func runCommand(errOut io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run everything in a configuration file",
		UsageText: "viaduct run -c FILE",
		Description: "SIGHUP reads the file again, and so does a change of it with watch: true. What is\n" +
			"wrong with the new one is told, and the old one stays.",
		Flags:  []cli.Flag{configFlag()},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			file, err := configFile(c)
			if err != nil {
				return err
			}
			return serve(c, errOut, file, func() (*config.Config, error) { return config.Load(file) })
		},
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "the configuration `FILE`, in YAML"}
}

// configFile is the file that was given with -c.
func configFile(c *cli.Context) (string, error) {
	switch file := c.String("config"); file {
	case "":
	case "-":
		return "", usageError("a file is read by its name: for standard input write /dev/stdin, for a file called - write ./-")
	default:
		return file, nil
	}
	return "", usageError("which file? write viaduct " + c.Command.Name + " -c FILE")
}
