from schemas.comparison import ComparisonCosts, ComparisonReport


def build_page(report: ComparisonReport, costs: ComparisonCosts) -> str:
    return report.model_dump_json()
