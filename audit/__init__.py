"""What is looked for before a change lands: secrets, licences, known holes. Knows no other room."""
