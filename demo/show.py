"""Prints the risk in an answer's JSON as a table."""
import json
import sys

answer = json.load(open(sys.argv[1]))
risk = answer["answer"]
print(f"value at risk of {risk['gross']:,.0f}, held {risk['horizon_days']} days; "
      f"{risk['returns']:,} past returns, {risk['first_day']} to {risk['last_day']}")
for model in risk["models"]:
    for measure in model["measures"]:
        low, high = measure["value_at_risk_95"]
        print(f"  {model['model']:<10} {measure['level']:>5.0%}  value at risk {measure['value_at_risk']:>9,.0f}"
              f"  ({low:,.0f} to {high:,.0f})  expected shortfall {measure['expected_shortfall']:>9,.0f}")
print(f"class {answer['class']}, hash {answer['hash']}")
print(f"{answer['ranks']} ranks, {answer['threads']} threads, {answer['blocks']} blocks, {answer['elapsed_s']:.1f} s")
