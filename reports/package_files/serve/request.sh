#!/bin/sh
# One question to the service, as any OpenAI client would ask it. Greedy, as inference.py answers.
curl -s http://127.0.0.1:8000/v1/chat/completions \
  -H 'Content-Type: application/json' \
  -d '{
    "model": "{{ served }}",
    "temperature": 0,
    "max_tokens": {{ max_new_tokens }},
    "messages": [
      {"role": "system", "content": {{ system_json }}},
      {"role": "user", "content": "I am afraid to open my bank statement."}
    ]
  }'
