"""What an operator types: `ngrokd token ...`, `reserve ...`, `backup ...`. `mount.register` adds them to the program."""
