"""What the doctor looks at, a module for each kind of thing. Each offers functions that return `Check`s."""
